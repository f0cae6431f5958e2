/** What the administrative API can have a service do: the seam between HTTP and the service. */

import type { CheckReport } from '../image/format.ts';
import type {
  ExportStatus,
  LayerStatus,
  MemoryStatus,
  PoolStatus,
  RecordRequest,
  RecordStatus,
  ServiceStatus,
  ShareStatus,
  SnapshotStatus,
} from './api.ts';

/** A share as it is to become; what is left out stays as it is. */
export interface ShareChange {
  readonly weight?: number | undefined;
  /** Null for no cap. */
  readonly capBytes?: number | null | undefined;
  readonly minimumBytes?: number | undefined;
}

/** Where an export's drain ended. */
export interface DrainStatus {
  readonly isClean: boolean;
  readonly dirtyBytes: number;
}

/**
 * Every method is in force when it returns or resolves. Failures are TmemErrors: `not-found` for an
 * unknown export or pool, `unsupported` for what this service cannot do.
 */
export interface Controls {
  /** Everything; the parts of it after this cost less. */
  status(): ServiceStatus;
  layers(): readonly LayerStatus[];
  exports(): readonly ExportStatus[];
  export(name: string): ExportStatus;
  pools(): readonly PoolStatus[];
  freeableBytes(): number;
  freeze(): void;
  thaw(): void;
  /** Changes what all memory may come to. */
  setMemoryLimit(bytes: number): MemoryStatus;
  /** Gives memory back until it is `bytes`, or nothing more can be. */
  shrink(bytes: number): Promise<number>;
  setExportShare(name: string, change: ShareChange): ShareStatus;
  setPoolShare(pool: number, change: ShareChange): ShareStatus;
  /** Writes what is dirty until nothing is, or `signal` is aborted. */
  drain(name: string, signal: AbortSignal): Promise<DrainStatus>;
  /** Checks the image of an export while it is served, or until `signal` is aborted. */
  check(name: string, signal: AbortSignal): Promise<CheckReport>;
  /** Drops pages of a pool of the service's own that may vanish; answers how many there were. */
  flushPage(pool: number, object: number, index: number): number;
  flushObject(pool: number, object: number): number;
  flushPool(pool: number): Promise<number>;
  snapshot(): Promise<SnapshotStatus>;
  recordStatus(): RecordStatus;
  /** Begins to record what clients ask, where the service was told to. */
  startRecording(request: RecordRequest): Promise<RecordStatus>;
  /** Ends it, if it is under way; the file is complete then. */
  stopRecording(): Promise<RecordStatus>;
}
