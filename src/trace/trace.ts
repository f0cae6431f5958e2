/** What every reader of a recorded workload gives: requests in batches, and what is known of them. */

import type { RecordName } from './format.ts';
import type { RequestBatch } from './request-batch.ts';

/** What the last, or the present, reading of a trace has seen so far. */
export interface TraceStatistics {
  /** Lines of a text, records of a binary format; those that are no requests by design included. */
  lines: number;
  requests: number;
  /** Lines, or records, that could not be understood and were left out. */
  malformed: number;
  /** The first of them: which line (from 1), and what is wrong with it, for people. */
  firstMalformed:
    | { readonly path: string; readonly line: number; readonly text: string }
    | undefined;
  /** Requests that the recorder had to leave out, where the format says. */
  dropped: number;
  /** Microseconds on the trace's clock; NaN before the first request. */
  firstTimeUs: number;
  lastTimeUs: number;
  /** What a person should know of the reading: sentences without a full stop. */
  readonly warnings: string[];
}

/** A recorded workload: one file, or several that are one. */
export interface Trace {
  /** Name of the format, as `--format` takes it. */
  readonly formatName: string;
  /** The file's name without folders and suffixes of compression; for several files, the first's. */
  readonly name: string;
  /** The files, in the order in which they were given. */
  readonly paths: readonly string[];
  /**
   * `bytes`: requests have offsets and lengths on volumes. `keys`: each names one object by a
   * number, has length 1, and must not be split into pages.
   */
  readonly unit: 'bytes' | 'keys';
  /** False where the format has no times: then each request counts as a microsecond. */
  readonly hasClock: boolean;
  /** What the statistics count as lines. */
  readonly recordName: RecordName;
  /** The least share of the pages whose requests were recorded in any of the files; 1 for all. */
  readonly sampleRate: number;
  /** The share in each of the files, in the order of `paths`. */
  readonly sampleRates: readonly number[];
  /**
   * Whether it is a sample put together from several: then volumes may have other numbers than those
   * by which its pages were chosen, so that the hash does not tell which pages are in it.
   */
  readonly isMergedSample: boolean;
  /** Names by the number that requests carry. Filled while reading, complete at the end. */
  readonly volumes: readonly string[];
  /** Whether `batches` may be called again: false for a pipe. */
  readonly canRereads: boolean;
  /** What there is to read, bytes of the files as they are; 0 for a pipe. For progress. */
  readonly sizeBytes: number;
  /** How much of it has been read in the present reading. */
  readonly doneBytes: number;
  readonly statistics: TraceStatistics;
  /**
   * SHA-256 of the files' bytes, in hex. Reads all of them; rejects for a pipe.
   */
  hash(): Promise<string>;
  /**
   * Reads all requests in the order of the trace. The batch is the same object every time: it
   * belongs to the caller until the next one is asked for. One reading at a time. Throws a
   * `TmemError` that names file, line and cause for what cannot be read.
   */
  batches(): AsyncIterable<RequestBatch>;
}
