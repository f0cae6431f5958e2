/** The runs of a replay: exact on the whole stream, or estimates with bands on a sample of it. */

import { classesOf, estimateOf, type MiniatureResult, scaledRun } from '../curves/miniature.ts';
import type { FullResult } from '../engine/full.ts';
import type { PageStream } from '../engine/page-stream.ts';
import type { Run, RunResult } from '../engine/run.ts';
import { type RunAllOptions, runAll } from '../engine/run-all.ts';
import type { RunFacts } from './report.ts';

/** A run, what came of it, and what that says of the whole trace. */
export interface PolicyRun {
  readonly facts: RunFacts;
  /** Of a sample: of the sample. With tiers, where it went through the real layers. */
  readonly result: RunResult & Partial<Pick<FullResult, 'tiers' | 'contents' | 'pagesHeldMax'>>;
}

export interface PolicyRunsOptions extends RunAllOptions {
  /** Accesses of the whole trace that count, which a sample cannot know. */
  readonly references: number;
  readonly seed: number;
}

/** Runs all, in order. `runs` have the sizes of the whole trace. */
export async function runPolicies(
  stream: PageStream,
  runs: readonly Run[],
  options: PolicyRunsOptions,
): Promise<PolicyRun[]> {
  if (stream.sampleRate < 1) return runOnSample(stream, runs, options);
  const results = await runAll(stream, runs, options);
  return results.map((result) => ({ result, facts: exactFactsOf(result) }));
}

/** What a run says of the stream that it was of. */
export function exactFactsOf(result: RunResult): RunFacts {
  const { trace, policy, capacityPages, capacityBytes } = result;
  const { requests, hits, misses, coldMisses, evictions } = result;
  return {
    ...{ trace, policy, capacityPages, capacityBytes },
    ...{ requests, hits, misses, coldMisses, evictions },
    missRatio: requests === 0 ? 0 : misses / requests,
    missRatioLow: null,
    missRatioHigh: null,
  };
}

async function runOnSample(
  stream: PageStream,
  runs: readonly Run[],
  options: PolicyRunsOptions,
): Promise<PolicyRun[]> {
  const parts = [stream, ...classesOf(stream, options.seed)];
  const results: RunResult[][] = [];
  for (const [part, each] of parts.entries()) {
    const onProgress = (done: number, all: number) =>
      options.onProgress?.(part * all + done, parts.length * all);
    const scaled = runs.map((run) => scaledRun(run, each.sampleRate));
    results.push(await runAll(each, scaled, { ...options, onProgress }));
  }
  return runs.map(({ capacityPages }, index) => {
    const [result, ...ofClasses] = results.flatMap((ofPart) => ofPart[index] ?? []);
    if (result === undefined) throw new Error('a run without a result');
    const found: MiniatureResult = { whole: result, classes: ofClasses };
    const { missRatio, low, high } = estimateOf(found, stream.sampleRate, options.references);
    return {
      result,
      facts: {
        ...exactFactsOf(result),
        capacityPages,
        capacityBytes: capacityPages * stream.pageBytes,
        missRatio,
        missRatioLow: low,
        missRatioHigh: high,
      },
    };
  });
}
