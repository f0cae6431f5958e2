/** How large advisors are made: all of them together take a small share of the memory. */

import { SHARDS_SAMPLES } from '../curves/shards.ts';
import type { PolicyName } from '../policy/policies.ts';
import { Shadow } from './shadow.ts';
import { rivalOf } from './shadow-policies.ts';

/** The memory that shadows have, in that which the export has. */
export const MEMORY_FACTORS = [0.5, 1, 2, 4] as const;
/** The largest of them. */
export const FACTOR_MAX = 4;

/** The most that advisors take of the memory, all together. */
const MEMORY_SHARE = 1 / 32;
/** Pages of the largest shadow; the smallest has an eighth of them. */
const SHADOW_PAGES_MAX = 16_384;
const SHADOW_PAGES_MIN = 256;
/** What the curve takes: for each sample, and for the histograms of its classes. */
const BYTES_PER_SAMPLE = 64;
const HISTOGRAM_BYTES = 4 * 54 * 1024;

/** How large an advisor is. */
export interface AdvisorSize {
  /** Pages of the largest shadow, a power of two. */
  readonly shadowPages: number;
  /** Pages that are followed for the curve, a power of two. */
  readonly samples: number;
}

/** Bytes that an advisor of that size takes at most. */
export function advisorBytes(policy: PolicyName, { shadowPages, samples }: AdvisorSize): number {
  let bytes = samples * BYTES_PER_SAMPLE + HISTOGRAM_BYTES;
  for (const factor of MEMORY_FACTORS) {
    bytes += Shadow.bytesFor(policy, (shadowPages * factor) / FACTOR_MAX);
  }
  return bytes + Shadow.bytesFor(rivalOf(policy), shadowPages / FACTOR_MAX);
}

/** The largest size of which `count` fit; undefined where not even the smallest does. */
export function advisorSizeFor(
  policy: PolicyName,
  count: number,
  memoryBytes: number,
): AdvisorSize | undefined {
  const bytesMax = (memoryBytes * MEMORY_SHARE) / count;
  for (let pages = SHADOW_PAGES_MAX; pages >= SHADOW_PAGES_MIN; pages /= 2) {
    const size = { shadowPages: pages, samples: Math.min(SHARDS_SAMPLES, 2 * pages) };
    if (advisorBytes(policy, size) <= bytesMax) return size;
  }
  return undefined;
}
