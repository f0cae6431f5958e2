/**
 * What the administrative API answers, as JSON: the types that its server fills in and that
 * clients read. Bytes are bytes, seconds are seconds; every counter starts at 0 with the process.
 */

import type { AdvisorReport, CurvePoint, MemoryEstimate } from '../advisor/report.ts';

/** The answer of `GET /v1/status`: everything there is to know at this moment. */
export interface ServiceStatus {
  readonly version: string;
  /** ISO 8601, UTC. */
  readonly startedAt: string;
  readonly uptimeSeconds: number;
  readonly isStopping: boolean;
  /** Puts of new pages are refused in every layer. */
  readonly isFrozen: boolean;
  /** The LZ4 codec in use. */
  readonly codec: string;
  /** NBD clients connected now. */
  readonly connections: number;
  readonly memory: MemoryStatus;
  /** From the top of the stack down. */
  readonly layers: readonly LayerStatus[];
  readonly exports: readonly ExportStatus[];
  readonly pools: readonly PoolStatus[];
}

/** What all memory comes to, and may come to. */
export interface MemoryStatus {
  /** What was asked for. */
  readonly configuredLimitBytes: number;
  /** What holds now: less than was asked for while the machine is short of memory. */
  readonly limitBytes: number;
  readonly dataBytes: number;
  readonly metadataBytes: number;
  readonly bufferBytes: number;
  /** What `shrink` could give back: everything but what may not vanish. */
  readonly freeableBytes: number;
  /** Why the limit is lower than what was asked for; null when nobody watches. */
  readonly pressure: { readonly reason: string; readonly psiSomeAvg10: number | null } | null;
}

/** One layer of the stack. */
export interface LayerStatus {
  readonly name: string;
  readonly isFrozen: boolean;
  readonly limitBytes: number;
  readonly dataBytes: number;
  readonly metadataBytes: number;
  /** Bytes of the pages as they are held. */
  readonly storedBytes: number;
  readonly pages: { readonly raw: number; readonly compressed: number; readonly filled: number };
  readonly hits: number;
  readonly misses: number;
  /** By outcome: `stored`, `replaced`, or the reason of a refusal. */
  readonly puts: Readonly<Record<string, number>>;
  readonly evictions: {
    readonly capacity: number;
    readonly shrink: number;
    readonly filledCap: number;
  };
  /** Bytes of the pages that were encoded, before and after. */
  readonly originalBytes: number;
  readonly compressedBytes: number;
}

/** One export. */
export interface ExportStatus {
  readonly name: string;
  /** `read-only`, `writethrough` and so on. */
  readonly mode: string;
  readonly sizeBytes: number;
  /** What is behind it. */
  readonly image: string;
  /** The pools that hold its pages; exports of one read-only image share theirs. */
  readonly poolIds: readonly number[];
  /** Reads answered from memory alone, and those that needed the image. */
  readonly reads: { readonly hits: number; readonly misses: number };
  /** A page that lies in two layers counts twice. */
  readonly pages: number;
  readonly memoryBytes: number;
  /** The same of the images that it is based on, which others may be based on too. */
  readonly below: { readonly pages: number; readonly memoryBytes: number };
  readonly share: ShareStatus;
  /** Null for an export whose writes go through. */
  readonly writeBack: WriteBackStatus | null;
  /** Null where advice is off, or there is no memory for it. */
  readonly advisor: AdvisorStatus | null;
}

/**
 * What other memory or another policy would do for an export, by a sample of its pages: what its
 * advisor reports, without what only serves to put it in words.
 */
export interface AdvisorStatus
  extends Omit<AdvisorReport, 'isFull' | 'uncountedReads' | 'sizes' | 'others'> {
  /** One line in words. */
  readonly advice: string;
  /** The configured policy with parts and multiples of the memory, the smallest first. */
  readonly sizes: readonly EstimateStatus[];
  /** Other policies with the memory of now, the best first. */
  readonly others: readonly EstimateStatus[];
}

/** A miss ratio, 0 to 1, with the bounds of its error band. */
export type PointStatus = CurvePoint;

/** What a policy would miss with so many times the memory of now. */
export type EstimateStatus = Omit<MemoryEstimate, 'classes'>;

/** Pages that were written by clients and are not yet on the image. */
export interface WriteBackStatus {
  readonly dirtyBytes: number;
  readonly limitBytes: number;
  readonly state: 'clean' | 'dirty' | 'writing' | 'failing';
  /** The age of the oldest dirty page; 0 when there is none. */
  readonly oldestSeconds: number;
  /** Why the image last refused some of them; null when there are none left that it refused. */
  readonly failure: string | null;
}

/** How much of the memory one owner may have. */
export interface ShareStatus {
  /** 1 to 10000; victims come from whoever is furthest above the share that this gives. */
  readonly weight: number;
  /** Null for no cap. */
  readonly capBytes: number | null;
  /** Ephemeral pages are not evicted for others below this. */
  readonly minimumBytes: number;
}

/** One pool. */
export interface PoolStatus {
  readonly id: number;
  /** `export:NAME`, `client:NAME` or `shared:NAME`; several exports are joined by commas. */
  readonly owner: string;
  readonly kind: 'ephemeral' | 'persistent';
  readonly isShared: boolean;
  readonly pageBytes: number;
  readonly pages: number;
  readonly bytes: number;
  readonly share: ShareStatus;
}

/** A recording of what clients ask: the one under way, or else the last. */
export interface RecordStatus {
  readonly isRecording: boolean;
  /** Whether the service was given a place for recordings. */
  readonly canRecord: boolean;
  /** Null where there was none; so for what follows. */
  readonly file: string | null;
  /** ISO 8601, UTC. */
  readonly startedAt: string | null;
  /** Requests in the file, or on their way there. */
  readonly requests: number;
  /** Requests that were left out because the disk was slower. */
  readonly dropped: number;
  /** What the file comes to, and may come to. */
  readonly bytes: number;
  readonly limitBytes: number;
  /** The share of the pages whose requests are recorded. */
  readonly sampleRate: number;
  /** What further recordings may come to, until the service ends. */
  readonly leftBytes: number;
  /** Why it ended; null while it is under way. */
  readonly ending: 'asked' | 'limit' | 'failed' | null;
  /** What failed. */
  readonly failure: string | null;
}

/** How a recording is to be; what is left out is as the service was started with. */
export interface RecordRequest {
  /** No more than what is left. */
  readonly limitBytes?: number | undefined;
  /** Above 0 and up to 1. */
  readonly sampleRate?: number | undefined;
}

/** What a snapshot holds. */
export interface SnapshotStatus {
  readonly pages: number;
  readonly bytes: number;
  /** Names of the images that were changed meanwhile: their pages will not be used. */
  readonly changed: readonly string[];
  /** Names of the images that nothing can vouch for: none of their pages is in it. */
  readonly leftOut: readonly string[];
}
