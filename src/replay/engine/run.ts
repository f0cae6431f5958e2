/** What is run on a stream, and what comes of it. Plain data that passes between threads. */

/** One policy at one size. */
export interface Run {
  /** As `parsePolicy` reads it: `lru`, `s3fifo:threshold=1`. */
  readonly policy: string;
  /** Pages that the cache holds, at least 1. May be more than the stream has. */
  readonly capacityPages: number;
  /** The first so many of the stream are counted apart. Default 0. */
  readonly warmupRequests?: number;
  /** A scan in the middle of the stream. Default: none. */
  readonly scan?: Scan;
}

/** Pages that the stream has nowhere else, each touched so many times in a row; none is counted. */
export interface Scan {
  readonly pages: number;
  readonly touches: number;
}

/** How often a cache was asked, and answered. */
export interface Counts {
  /** Accesses: hits and misses. */
  readonly requests: number;
  readonly hits: number;
  readonly misses: number;
  /** Misses of pages that were not accessed before: no cache can hit them. */
  readonly coldMisses: number;
}

/** Counts of the whole stream, or, with a warm-up, of what comes after it. */
export interface RunResult extends Counts {
  readonly trace: string;
  readonly policy: string;
  readonly capacityPages: number;
  readonly capacityBytes: number;
  /** Distinct pages of the stream. A capacity above it holds them all. */
  readonly footprintPages: number;
  readonly evictions: number;
  /** Misses of pages that the policy remembered to have evicted. */
  readonly ghostHits: number;
  /** Pages that writes dropped while they were in the cache. */
  readonly invalidations: number;
  readonly warmup: Counts;
  /** The stream in equal parts, warm-up included: the accesses of each, and the hits. */
  readonly timeSeries: { readonly requests: readonly number[]; readonly hits: readonly number[] };
  /** By number of the volume, without the warm-up. */
  readonly volumes: { readonly requests: readonly number[]; readonly hits: readonly number[] };
  /** How long it took. The only figure that differs from one time to the next. */
  readonly elapsedMs: number;
}

/** Parts of the stream in a time series; fewer where the stream is shorter. */
export const SERIES_POINTS = 200;
