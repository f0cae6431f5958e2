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

/** The four parts of a sample's pages; by another salt others. */
export function classesOf(sample: PageStream, salt: number): PageStream[] {
  return Array.from({ length: CLASSES }, (_, index) =>
    sampledStream(sample, salt, index / CLASSES, (index + 1) / CLASSES),
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
