/** What memory of a size would be made of in this service, and what each part would answer. */

import type { TierResult } from '../engine/full.ts';
import { interpolated } from './interpolation.ts';
import type { PolicyRun } from './policy-runs.ts';
import type { CurvePoint, TierFacts, TierTable } from './report.ts';

/** How memory is divided. */
export interface TierShape {
  readonly pageBytes: number;
  /** The share of the memory that keeps pages as they are. */
  readonly hotShare: number;
  /** Bytes of pages by the bytes that they take compressed. */
  readonly compressionRatio: number;
}

/** Bytes that a compressed page takes besides its content: its places in tables and queues. */
const METADATA_BYTES = 64;
/** Pages of the flash tier for each page above it. */
const FLASH_FACTOR = 4;

/**
 * The tiers of `memoryBytes`. A page in hot keeps its copy below, so what the two hold together is
 * what the larger one holds.
 */
export function tiersOf(
  memoryBytes: number,
  curve: readonly CurvePoint[],
  { pageBytes, hotShare, compressionRatio }: TierShape,
): TierFacts {
  const hotBytes = memoryBytes * hotShare;
  const hotPages = Math.floor(hotBytes / (pageBytes + METADATA_BYTES));
  const compressedPageBytes = pageBytes / compressionRatio + METADATA_BYTES;
  const compressedPages = Math.floor((memoryBytes - hotBytes) / compressedPageBytes);
  const held = Math.max(hotPages, compressedPages);
  const flashPages = held * FLASH_FACTOR;
  const hotHits = 1 - interpolated(curve, hotPages);
  const memoryHits = 1 - interpolated(curve, held);
  const allHits = 1 - interpolated(curve, held + flashPages);
  return {
    memoryBytes,
    hotPages,
    compressedPages,
    flashPages,
    hotHits,
    // Of a policy that does worse with more room the curve is not monotonous.
    compressedHits: Math.max(0, memoryHits - hotHits),
    flashHits: Math.max(0, allHits - memoryHits),
  };
}

/** The tiers of the runs of a policy that went through the real layers; null if there are none. */
export function measuredTiersOf(runs: readonly PolicyRun[], policy: string): TierTable | null {
  const own = runs.filter(({ facts }) => facts.policy === policy);
  const last = own.at(-1)?.result;
  if (last?.tiers === undefined) return null;
  const sum = (pick: (tier: TierResult) => number) =>
    own.flatMap(({ result }) => result.tiers ?? []).reduce((total, tier) => total + pick(tier), 0);
  const before = sum(({ originalBytes }) => originalBytes);
  const after = sum(({ compressedBytes }) => compressedBytes);
  const hotLimit = last.tiers.find(({ name }) => name === 'hot')?.limitBytes ?? 0;
  return {
    policy,
    hotShare: hotLimit / last.capacityBytes,
    compressionRatio: after === 0 ? 1 : before / after,
    ratioFrom: 'contents',
    contents: last.contents ?? null,
    rows: own.map(({ facts, result }) => {
      const of = (name: string) => result.tiers?.find((tier) => tier.name === name);
      const accesses = result.requests + result.warmup.requests;
      const share = (hits = 0) => (accesses === 0 ? 0 : hits / accesses);
      return {
        memoryBytes: facts.capacityBytes,
        hotPages: of('hot')?.pages ?? 0,
        compressedPages: of('zcache')?.pages ?? 0,
        flashPages: 0,
        hotHits: share(of('hot')?.hits),
        compressedHits: share(of('zcache')?.hits),
        flashHits: 0,
      };
    }),
  };
}
