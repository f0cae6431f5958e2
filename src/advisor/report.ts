/** What an advisor has found out, in numbers. */

import type { MissRatioBand } from '../curves/curve.ts';

/** What a cache of some size and policy would miss. */
export interface MemoryEstimate extends MissRatioBand {
  /** Times the memory that the export has now. */
  readonly memory: number;
  readonly policy: string;
  /** Pages that would fit. */
  readonly pages: number;
  readonly bytes: number;
  /** By class of the sample, for whoever compares two estimates. */
  readonly classes: readonly number[];
}

/** A point of the curve of LRU. */
export interface CurvePoint extends MissRatioBand {
  readonly pages: number;
  readonly bytes: number;
}

/** All that is known of one export; its memory in pages and bytes, ratios from 0 to 1. */
export interface AdvisorReport {
  /** Pages read lately: those of past epochs count for half, a quarter, and so on. */
  readonly reads: number;
  /** How many of them the shadows were told of. */
  readonly sampledReads: number;
  /** How many more they are told of before any counts: since they began anew they lack pages. */
  readonly uncountedReads: number;
  /** The share of all pages that the shadows are told of. */
  readonly rate: number;
  /** Pages that are followed for the curve. */
  readonly sampledPages: number;
  /** Distinct pages that were read or written since the start, by estimate. */
  readonly footprintPages: number;
  /** What the export has now: pages, and what memory holds of it takes. */
  readonly memoryPages: number;
  readonly pageBytes: number;
  /** Whether memory was ever too small for all that was read: before that nothing had to leave. */
  readonly isFull: boolean;
  /** The share of pages read that did come from the image. */
  readonly realMissRatio: number;
  /** By how much the real miss ratio is above what the shadow of the same size says. */
  readonly gap: number;
  /** The configured policy with parts and multiples of the memory, the smallest first. */
  readonly sizes: readonly MemoryEstimate[];
  /** Other policies with the same memory, the best first. */
  readonly others: readonly MemoryEstimate[];
  /** The curve of LRU, from few pages to all of them. */
  readonly curve: readonly CurvePoint[];
}
