/** The runs of a replay through the real layers, one after the other on this thread. */

import { setImmediate } from 'node:timers/promises';
import { TmemError } from '../../lib/errors.ts';
import { formatSize } from '../../lib/sizes.ts';
import { policyFactoryFor } from '../../policy/policies.ts';
import { type FullResult, runFull } from '../engine/full.ts';
import type { PageContents } from '../engine/page-contents.ts';
import type { PageStream } from '../engine/page-stream.ts';
import type { Run } from '../engine/run.ts';
import type { PolicyRun } from './policy-runs.ts';

/** The least that a stack of layers takes. */
const MEMORY_BYTES_MIN = 1024 * 1024;

export interface FullRunsOptions {
  /** Bytes of a page; of a trace of keys, of an object. */
  readonly pageBytes: number;
  readonly contents: PageContents;
  readonly signal?: AbortSignal | undefined;
  /** Requests done and to do, over all runs. */
  readonly onProgress?: (doneRequests: number, allRequests: number) => void;
}

/** Throws a usage error for a policy that no layer can have. */
export function checkFullPolicies(policies: readonly string[]): void {
  for (const policy of policies) policyFactoryFor(policy);
}

/** Throws a usage error for sizes too small for the layers; sizes are the memory they may take. */
export function checkFullSizes(capacities: readonly number[], pageBytes: number): void {
  const least = Math.min(...capacities) * pageBytes;
  if (least >= MEMORY_BYTES_MIN) return;
  throw new TmemError(
    'usage',
    `--memory: ${formatSize(least)} are too little for --engine full; give it at least 1MiB`,
  );
}

/** Runs all, in order; what is asked for in pages is the memory of as many uncompressed pages. */
export async function runFullPolicies(
  stream: PageStream,
  runs: readonly Run[],
  { pageBytes, contents, signal, onProgress }: FullRunsOptions,
): Promise<PolicyRun[]> {
  const found: PolicyRun[] = [];
  for (const [index, { policy, capacityPages = 0, warmupRequests = 0 }] of runs.entries()) {
    // Signals are heard between two runs.
    await setImmediate();
    signal?.throwIfAborted();
    const result = runFull(stream, {
      policy,
      memoryBytes: capacityPages * pageBytes,
      pageBytes,
      contents,
      warmupRequests,
      onProgress: (done) =>
        onProgress?.(index * stream.requestCount + done, runs.length * stream.requestCount),
    });
    found.push({ result, facts: factsOf(result, capacityPages, pageBytes) });
  }
  return found;
}

function factsOf(result: FullResult, capacityPages: number, pageBytes: number): PolicyRun['facts'] {
  const { trace, policy, requests, hits, misses, coldMisses, evictions } = result;
  const capacity = { capacityPages, capacityBytes: capacityPages * pageBytes };
  return {
    ...{ trace, policy, ...capacity, requests, hits, misses, coldMisses, evictions },
    missRatio: requests === 0 ? 0 : misses / requests,
    missRatioLow: null,
    missRatioHigh: null,
  };
}
