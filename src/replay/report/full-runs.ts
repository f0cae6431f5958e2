/** The runs of a replay through the real layers, one after the other on this thread. */

import { TmemError } from '../../lib/errors.ts';
import { formatSize } from '../../lib/sizes.ts';
import { turnOfTheLoop } from '../../lib/turn-of-the-loop.ts';
import { policyFactoryFor } from '../../policy/policies.ts';
import { MEMORY_BYTES_MIN, runFull } from '../engine/full.ts';
import type { PageContents } from '../engine/page-contents.ts';
import type { PageStream } from '../engine/page-stream.ts';
import type { Run } from '../engine/run.ts';
import { capacitiesOf, type MemorySize, type MemoryUnits } from './memory-sizes.ts';
import {
  exactFactsOf,
  type PolicyRun,
  type PolicyRunsOptions,
  runPolicies,
} from './policy-runs.ts';
import { FLOOR_POLICY } from './report.ts';

export interface FullRunsOptions {
  readonly contents: PageContents;
  readonly signal?: AbortSignal | undefined;
  /** Requests done and to do, over all runs. */
  readonly onProgress?: (doneRequests: number, allRequests: number) => void;
}

/** Throws a usage error for a policy that no layer can have. */
export function checkFullPolicies(policies: readonly string[]): void {
  for (const policy of policies) policyFactoryFor(policy);
}

/** What is wanted of the layers, by the footprint that is known now. */
export interface FullSizes extends MemoryUnits {
  readonly traceName: string;
  readonly memory: readonly MemorySize[];
  /** Whether `memory` is what is taken where nobody asked for sizes. */
  readonly hasDefaultMemory: boolean;
}

/**
 * The sizes in whole pages, which are the memory that the layers may take, and a sentence on those
 * of a default list that are left out. Throws a usage error where one that was asked for is too
 * small for the layers, and where none is left.
 */
export function fullCapacitiesOf(sizes: FullSizes): { capacities: number[]; notes: string[] } {
  const { memory, hasDefaultMemory, traceName, pageBytes, footprintPages } = sizes;
  const bytesOf = (size: MemorySize) => Math.min(...capacitiesOf([size], sizes)) * pageBytes;
  const tooSmall = memory.filter((size) => bytesOf(size) < MEMORY_BYTES_MIN);
  if (tooSmall.length === 0) return { capacities: capacitiesOf(memory, sizes), notes: [] };
  const floor = formatSize(MEMORY_BYTES_MIN);
  if (!hasDefaultMemory) {
    const least = Math.min(...tooSmall.map(bytesOf));
    throw new TmemError(
      'usage',
      `--memory: ${formatSize(least)} are too little for --engine full; give it at least ${floor}`,
    );
  }
  if (tooSmall.length === memory.length) {
    throw new TmemError(
      'usage',
      `${traceName} has a footprint of ${formatSize(footprintPages * pageBytes)}, too little for the ` +
        `default sizes of --engine full, which takes at least ${floor}; give sizes, as ` +
        `--memory ${floor}, or replay it with --engine sizes`,
    );
  }
  const left = memory.filter((size) => !tooSmall.includes(size));
  const shares = tooSmall.map(({ text }) => text).join(', ');
  const note =
    `Of the default sizes ${shares} of the footprint ${tooSmall.length === 1 ? 'is' : 'are'} left ` +
    `out, since --engine full takes at least ${floor}.`;
  return { capacities: capacitiesOf(left, sizes), notes: [note] };
}

/** Runs all, in order; what is asked for in pages is the memory of as many uncompressed pages. */
export async function runFullPolicies(
  stream: PageStream,
  runs: readonly Run[],
  { contents, signal, onProgress }: FullRunsOptions,
): Promise<PolicyRun[]> {
  const found: PolicyRun[] = [];
  for (const [index, run] of runs.entries()) {
    // Signals are heard between two runs.
    await turnOfTheLoop();
    signal?.throwIfAborted();
    const result = runFull(stream, run, {
      contents,
      onProgress: (done) =>
        onProgress?.(index * stream.requestCount + done, runs.length * stream.requestCount),
    });
    found.push({ result, facts: exactFactsOf(result) });
  }
  return found;
}

/**
 * What knowing the future would miss with as many pages as the layers ever held, for each size of
 * `done`. It stays a floor where pages were refused, since belady has to take every page: it gets
 * one more to take those into.
 */
export async function fullFloors(
  stream: PageStream,
  done: readonly PolicyRun[],
  warmupRequests: number,
  options: PolicyRunsOptions,
): Promise<PolicyRun[]> {
  const heldBySize = new Map<number, PolicyRun>();
  for (const run of done) {
    const { capacityPages } = run.facts;
    const most = heldBySize.get(capacityPages)?.result.pagesHeldMax ?? -1;
    if ((run.result.pagesHeldMax ?? 0) > most) heldBySize.set(capacityPages, run);
  }
  const sizes = [...heldBySize.values()];
  const runs = sizes.map(({ result }) => ({
    policy: FLOOR_POLICY,
    capacityPages: (result.pagesHeldMax ?? 0) + 1,
    warmupRequests,
  }));
  const floors = await runPolicies(stream, runs, options);
  return floors.map(({ facts, result }, at) => {
    const { capacityPages = 0, capacityBytes = 0 } = sizes[at]?.facts ?? {};
    return { result, facts: { ...facts, capacityPages, capacityBytes } };
  });
}
