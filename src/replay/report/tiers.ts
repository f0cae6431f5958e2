/** What memory of a size would be made of in this service, and what each part would answer. */

import { interpolated } from './interpolation.ts';
import type { CurvePoint, TierFacts } from './report.ts';

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
