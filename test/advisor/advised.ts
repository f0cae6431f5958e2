/** Advisors of caches that tests make up, told of streams of known shape. */

import { type AdvisedCache, Advisor, type AdvisorOptions } from '../../src/advisor/advisor.ts';
import type { PolicyName } from '../../src/policy/policies.ts';
import { simulate } from '../../src/replay/engine/simulate.ts';
import { type StreamName, stream } from '../policy/golden-synthetic.ts';
import { streamOfKeys } from '../replay/engine/golden-streams.ts';

export const STREAMS: readonly StreamName[] = [
  ...(['loop-1000', 'uniform-10k', 'skewed-20k', 'skewed-scan', 'phases'] as const),
];

/** A cache with room for so many pages, of which none is there yet. */
export function roomFor(pages: number, changes: Partial<AdvisedCache> = {}): AdvisedCache {
  return {
    pageBytes: 4096,
    has: () => false,
    heldPages: () => 0,
    chargeBytes: () => 4096,
    freeBytes: () => pages * 4096,
    aheadPages: () => 0,
    ...changes,
  };
}

/** An advisor whose largest shadow has at most `shadowPages`, and whose counts are never halved. */
export function advisorOf(
  policy: PolicyName,
  cache: AdvisedCache,
  shadowPages: number,
  options: Partial<AdvisorOptions> = {},
): Advisor {
  const size = { shadowPages, samples: 8192 };
  return new Advisor({ policy, cache, size, epochReads: Number.POSITIVE_INFINITY, ...options });
}

/** Reads each page by itself. */
export function readAll(advisor: Advisor, pages: Iterable<number>): void {
  for (const page of pages) advisor.noteRead(page, 1, 0);
}

/** A stream of keys, and what a policy misses of it, by full simulation. */
export function streamAndTruth(name: StreamName) {
  const made = truths.get(name) ?? makeTruth(name);
  truths.set(name, made);
  return made;
}

const truths = new Map<StreamName, ReturnType<typeof makeTruth>>();

async function makeTruth(name: StreamName) {
  const keys = stream(name);
  const whole = await streamOfKeys(name, keys);
  const known = new Map<string, number>();
  const truth = (policy: PolicyName, capacityPages: number): number => {
    const run = `${policy} ${capacityPages}`;
    const { misses, requests } = known.has(run)
      ? { misses: known.get(run) ?? 0, requests: keys.length }
      : simulate(whole, { policy, capacityPages });
    known.set(run, misses);
    return misses / requests;
  };
  return { keys, pageCount: whole.pageCount, whole, truth };
}
