/** What writes a trace in another format. */

import { TmemError } from '../../lib/errors.ts';
import type { RequestBatch } from '../request-batch.ts';

/** Throws a `TmemError` for a time, µs, that no trace holds: formats and readers end at 2^53. */
export function checkTime(timeUs: number): void {
  if (timeUs <= Number.MAX_SAFE_INTEGER) return;
  throw new TmemError(
    'invalid',
    `a time of ${timeUs.toPrecision(3)} µs is beyond what a trace can hold: the times may count a ` +
      'smaller unit; if so, say which with --time-unit (ms, us, ns)',
  );
}

/** Takes batches in order, then is finished. */
export interface Exporter {
  /** Requests, or objects, written so far. */
  readonly written: number;
  write(batch: RequestBatch): Promise<void>;
  /** Writes the rest; the file is put in its place by whoever made it. */
  finish(): Promise<void>;
}

/** What the formats have to know of the trace. */
export interface ExportOptions {
  readonly unit: 'bytes' | 'keys';
  readonly hasClock: boolean;
  /** The names of the volumes by number; grows while the trace is read. */
  volumes(): readonly string[];
  /** Into what requests are split for formats of objects, bytes; 0: an object for each offset. */
  readonly pageBytes: number;
  /** SHA-256 of the source, in hex; empty where not known. */
  readonly sourceHash: string;
  /** The share of the pages whose requests these are, for our own format to note; 1 is all. */
  readonly sampleRate: number;
  /** As `Trace.isMergedSample`, for our own format to note; not unless it says so. */
  readonly isMergedSample?: boolean;
  /** Told of a second pass over what was written: how much of it is done, from 0 to 1. */
  onSecondPass(done: number): void;
}
