/**
 * All that a replay found out: one plain object, which is the JSON file as it is, and from which
 * the pages, the tables and the CSV files are made. The same trace, options and seed give the same
 * object: there is no time of day in it, and no duration.
 */

import type { Point, Popularity, ReuseDistances } from './page-statistics.ts';

/** Changed when a reader of the JSON would have to change. */
export const REPORT_VERSION = 1;

/** The policy that knows the future: no other can do better with pages of one size. */
export const FLOOR_POLICY = 'belady';

/** The trace, and how it was read. */
export interface TraceFacts {
  readonly name: string;
  readonly formatName: string;
  readonly unit: 'bytes' | 'keys';
  readonly files: readonly string[];
  /** SHA-256 of the files' bytes, in hex; null for a pipe. */
  readonly sha256: string | null;
  readonly malformed: number;
  /** Sentences without a full stop. */
  readonly warnings: readonly string[];
}

/** What decided the result. */
export interface ReplaySettings {
  /** The command line, with quotes where a shell needs them. */
  readonly command: string;
  readonly versions: Readonly<Record<string, string>>;
  readonly pageBytes: number;
  readonly ops: string;
  /** `sizes`, where a size is of the pages held, or `full`, where it is of the memory they take. */
  readonly engine: 'sizes' | 'full';
  /** The share of the pages that was looked at, from above 0 to 1. */
  readonly sampleRate: number;
  /** Accesses before counting began. */
  readonly warmupAccesses: number;
  readonly seed: number;
}

/** The workload in a few numbers. Of a sample, those of pages are estimates. */
export interface WorkloadFacts {
  readonly requests: number;
  /** Uses of a page: a request of many pages is as many accesses. */
  readonly accesses: number;
  readonly reads: number;
  readonly writes: number;
  readonly trims: number;
  readonly flushes: number;
  /** Here and below, of a trace of keys these are objects, which have no size. */
  readonly readBytes: number;
  readonly writeBytes: number;
  /** Reads and writes that go on where one of the last requests of their volume ended. */
  readonly sequential: number;
  /** Different pages. */
  readonly footprintPages: number;
  /**
   * The share of accesses that miss in any cache: the first of their page, and, where writes drop
   * pages, the first after that.
   */
  readonly coldMissRatio: number;
  /** Seconds from the first to the last request; 0 where the trace has no times. */
  readonly seconds: number;
  /** Content by its compressed size, where the trace knows; else null. */
  readonly compressionRatio: number | null;
}

/** One policy at one capacity. */
export interface RunFacts {
  readonly trace: string;
  readonly policy: string;
  /** Whole pages that the cache holds. */
  readonly capacityPages: number;
  /** The same in bytes, uncompressed; says nothing of a trace of keys. */
  readonly capacityBytes: number;
  /** Accesses that were counted; of a sample, those of the sample. */
  readonly requests: number;
  readonly hits: number;
  readonly misses: number;
  /** Misses of pages that were never used before, whether counted or warmed up. */
  readonly coldMisses: number;
  readonly evictions: number;
  /** Of a sample the estimate for the whole, else misses / requests. */
  readonly missRatio: number;
  /** Null where the ratio is exact. */
  readonly missRatioLow: number | null;
  readonly missRatioHigh: number | null;
}

/** A point of a miss-ratio curve. */
export interface CurvePoint {
  readonly pages: number;
  readonly missRatio: number;
  /** Both are there where the ratio is an estimate. */
  readonly low?: number;
  readonly high?: number;
}

/** The miss ratio of a policy by size. */
export interface CurveFacts {
  readonly policy: string;
  /** `stack distance`: exact at every size. `simulated`: exact at these. `sampled`: estimates. */
  readonly found: 'stack distance' | 'simulated' | 'sampled';
  readonly points: readonly CurvePoint[];
}

/** The hit ratio of a policy in each of equal parts of the trace. */
export interface OverTimeFacts {
  readonly policy: string;
  /** y is a ratio, or null where a part has no accesses. */
  readonly hitRatios: readonly (number | null)[];
}

/** One volume. */
export interface VolumeFacts {
  readonly name: string;
  readonly reads: number;
  readonly writes: number;
  readonly readBytes: number;
  readonly writeBytes: number;
  /** Shares of the reads, and of the writes, from 0 to 1. */
  readonly sequentialReads: number;
  readonly sequentialWrites: number;
  readonly footprintPages: number;
  readonly accesses: number;
  /** With the recommended setting. */
  readonly hitRatio: number;
}

/** What is asked for in each of equal times. */
export interface MixFacts {
  /** Seconds; where the trace has no times, requests. */
  readonly columnWidth: number;
  readonly reads: readonly number[];
  readonly writes: readonly number[];
  readonly sequential: readonly number[];
  readonly readBytes: readonly number[];
  readonly writeBytes: readonly number[];
}

/** Bytes asked for by address and time. */
export interface HeatMapFacts {
  readonly volume: string;
  readonly columnWidth: number;
  readonly rowBytes: number;
  /** The lowest address first; each row from the first time on. */
  readonly rows: readonly (readonly number[])[];
}

/** What a cache of one size would be made of, and what each part would answer. */
export interface TierFacts {
  readonly memoryBytes: number;
  /** Pages that are kept as they are, and those that the rest holds compressed, at the end. */
  readonly hotPages: number;
  readonly compressedPages: number;
  /** A flash tier below, of four times the pages. */
  readonly flashPages: number;
  /** Shares of all accesses, from 0 to 1; what is left are misses of all three. */
  readonly hotHits: number;
  readonly compressedHits: number;
  readonly flashHits: number;
}

/** How the tiers were reckoned. */
export interface TierTable {
  readonly policy: string;
  readonly hotShare: number;
  readonly compressionRatio: number;
  /** Whose the ratio is: the trace's own, that of contents that were compressed, or none's. */
  readonly ratioFrom: 'trace' | 'contents' | 'assumption';
  /** How the contents were made, if they were; a sentence fragment. */
  readonly contents: string | null;
  readonly rows: readonly TierFacts[];
}

/** What one long scan in the middle of the trace costs a policy. */
export interface ScanDamageFacts {
  readonly policy: string;
  /** Extra misses of the trace's own accesses, as a share of the capacity; once and twice touched. */
  readonly onceTouched: number;
  readonly twiceTouched: number;
}

/** The setting to choose. */
export interface Advice {
  readonly policy: string;
  readonly capacityPages: number;
  readonly capacityBytes: number;
  readonly hitRatio: number;
  /** What no size and no policy can exceed. */
  readonly hitRatioMax: number;
  /** One sentence, with its full stop. */
  readonly sentence: string;
  /** What else should be known; sentences. */
  readonly notes: readonly string[];
}

/** Everything a report shows, as `report.json` has it. */
export interface ReplayReport {
  readonly version: typeof REPORT_VERSION;
  readonly trace: TraceFacts;
  readonly settings: ReplaySettings;
  readonly workload: WorkloadFacts;
  readonly advice: Advice;
  readonly runs: readonly RunFacts[];
  readonly curves: readonly CurveFacts[];
  readonly overTime: {
    readonly capacityPages: number;
    /** Where each of equal parts of the trace begins, and when; 0 where the trace has no times. */
    readonly starts: readonly { readonly access: number; readonly seconds: number }[];
    readonly policies: readonly OverTimeFacts[];
    /** The share of accesses in each part that are first uses: the hits that nothing can give. */
    readonly coldMissRatios: readonly (number | null)[];
  };
  readonly tiers: TierTable | null;
  readonly scanDamage: {
    readonly capacityPages: number;
    readonly scanPages: number;
    readonly policies: readonly ScanDamageFacts[];
  } | null;
  readonly volumes: readonly VolumeFacts[];
  /** x is accesses, y is pages. */
  readonly footprint: readonly Point[];
  readonly reuse: ReuseDistances;
  readonly popularity: Popularity;
  readonly mix: MixFacts;
  /** By powers of two: at most so many bytes, more than half of it. */
  readonly sizes: readonly {
    readonly bytesMax: number;
    readonly reads: number;
    readonly writes: number;
  }[];
  readonly heatMaps: readonly HeatMapFacts[];
}
