/**
 * Miniature simulation: any policy by a sample of the pages in a cache that is as much smaller.
 * Waldspurger, Saemundsson, Ahmad and Park, "Cache modeling and optimization using miniature
 * simulations" (ATC'17). What a sample leaves uncertain is told by four disjoint parts of it.
 *
 * The smallest miniature cache should have about a thousand pages: of a few dozen, what a policy
 * calls a tenth of the cache is a page or two.
 */

import { bandOf, type MissRatioBand } from '../../curves/curve.ts';
import type { PageStream } from '../engine/page-stream.ts';
import type { Run, RunResult } from '../engine/run.ts';
import { sampledStream } from './sampled-stream.ts';

/** `bandOf` is made for four. */
const CLASSES = 4;

/** A sample of a stream's pages, and its four parts. */
export interface Miniature {
  /** The share of the pages that is in the sample. */
  readonly rate: number;
  readonly whole: PageStream;
  readonly classes: readonly PageStream[];
}

/** Samples `rate` (above 0, at most 1) of the pages of `stream`; by another salt others. */
export function miniatureOf(stream: PageStream, rate: number, salt: number): Miniature {
  const whole = rate === 1 ? stream : sampledStream(stream, salt, 0, rate);
  return { rate, whole, classes: classesOf(whole, salt + 1) };
}

/** A stream that is a sample already, as one that was read with a sample rate. */
export function miniatureOfSample(stream: PageStream, salt: number): Miniature {
  return { rate: stream.sampleRate, whole: stream, classes: classesOf(stream, salt) };
}

function classesOf(stream: PageStream, salt: number): PageStream[] {
  return Array.from({ length: CLASSES }, (_, index) =>
    sampledStream(stream, salt, index / CLASSES, (index + 1) / CLASSES),
  );
}

/** The run as it is for a sample of `rate` of the pages: with a cache of at least one page. */
export function scaledRun(run: Run, rate: number): Run {
  const { capacityPages, warmupRequests = 0 } = run;
  return {
    ...run,
    capacityPages: Math.max(1, Math.round(capacityPages * rate)),
    warmupRequests: Math.round(warmupRequests * rate),
  };
}

/** Runs of a miniature: for each run its result on the whole sample and on the classes. */
export interface MiniatureResult {
  readonly whole: RunResult;
  readonly classes: readonly RunResult[];
}

/**
 * The miss ratio of the full stream, which has `references` references that count. What the sample
 * has more or fewer of than its rate promises is taken to be hits: see `missRatioOfParts`.
 */
export function estimateOf(
  { whole, classes }: MiniatureResult,
  rate: number,
  references: number,
): MissRatioBand {
  const ratio = (misses: number, share: number) =>
    references === 0 ? 0 : Math.min(1, misses / (references * share));
  return bandOf(
    ratio(whole.misses, rate),
    classes.map(({ misses }) => ratio(misses, rate / CLASSES)),
  );
}
