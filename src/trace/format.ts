/** What a trace format is to the code that reads any of them. */

import type { FileHead } from './file-head.ts';
import { OP, type RequestBatch } from './request-batch.ts';
import type { VolumeTable } from './volume-table.ts';

/** How well a file's beginning fits a format. */
export const LIKENESS = { no: 0, possible: 1, likely: 2, certain: 3 } as const;

/** Units in which traces give times, in microseconds. */
export const TIME_UNITS = { s: 1e6, ms: 1e3, us: 1, '100ns': 0.1, ns: 1e-3 } as const;

/** A name in `TIME_UNITS`, as `--time-unit` takes it. */
export type TimeUnit = keyof typeof TIME_UNITS;

/** What a file consists of, for people: lines of a text, or records of a binary format. */
export type RecordName = 'line' | 'record';

/** What has been seen of one file so far. Its parser counts in it. */
export interface FileTally {
  readonly path: string;
  /** What `lines` counts. */
  readonly recordName: RecordName;
  /** Lines, or records. */
  lines: number;
  malformed: number;
  dropped: number;
  /** The number, from 1, and the text of the first malformed line. */
  firstMalformed: { readonly line: number; readonly text: string } | undefined;
  /** Sentences without a full stop. */
  readonly warnings: string[];
}

/** What sectors count where the user does not say it, bytes. */
export const SECTOR_BYTES_DEFAULT = 512;

/** What the user may say about a trace beside its format. */
export interface FormatOptions {
  /** The unit of its times, where it is not the usual one of its format. */
  readonly timeUnit?: TimeUnit | undefined;
  /** What sectors and blocks are counted in, bytes, in formats that do not count bytes. */
  readonly sectorBytes?: number | undefined;
  /** Names for the columns of a CSV file, as `time_us=1,lba=3`. */
  readonly columns?: string | undefined;
}

/** What the user says of a trace; whatever is left out is told by its files. */
export interface OpenTraceOptions extends FormatOptions {
  /** The name of a format, or `auto`, which is what counts if it is left out. */
  readonly format?: string | undefined;
}

/** What a parser works with. */
export interface ParserContext {
  readonly volumes: VolumeTable;
  /** The volume of requests that name none. */
  readonly volumeName: string;
  readonly sectorBytes: number;
  readonly tally: FileTally;
  /** Counts the requests of traces without times, over all files of the trace. */
  readonly ordinal: { next: number };
}

/** Takes the bytes of one file apart. */
export interface RecordParser {
  /**
   * Adds the requests of the whole records in `bytes` from `from` up to `to` until the batch is
   * full, and answers where it stopped: further bytes are asked for if that is the same place
   * twice. With `isLast` nothing follows `to`.
   */
  parse(bytes: Buffer, from: number, to: number, isLast: boolean, batch: RequestBatch): number;
}

/** How one file, or all of one trace, is to be read. */
export interface Reading {
  readonly unit: 'bytes' | 'keys';
  /** False where there are no times; requests are counted instead. */
  readonly hasClock: boolean;
  /** What `timeUnit` of the options replaces; undefined where the format leaves no doubt. */
  readonly timeUnit: TimeUnit | undefined;
  /** The share of the pages whose requests were recorded, where the file says; else all, 1. */
  readonly sampleRate?: number;
  /** As `Trace.isMergedSample`, of the file alone; not where it is not said. */
  readonly isMergedSample?: boolean;
  /** Lines where it is not said. */
  readonly recordName?: RecordName;
  /** What the user should know of how it was understood; sentences without a full stop. */
  readonly warnings?: readonly string[];
  createParser(context: ParserContext): RecordParser;
}

/** A format of traces. */
export interface TraceFormat {
  /** As `--format` takes it. */
  readonly name: string;
  /** For people. */
  readonly title: string;
  /** One of `LIKENESS`. */
  likeness(head: FileHead): number;
  /** Throws a `TmemError` if the options, or the file's header, do not do. */
  read(head: FileHead, options: FormatOptions): Reading;
}

/** Room that a parser keeps in a batch: the requests one record may become at most. */
export const REQUESTS_PER_RECORD_MAX = 512;

/** No command reads, writes or zeroes more at once; without a bound each of its pages is counted. */
const TRANSFER_BYTES_MAX = 16 * 2 ** 30;
/** A trim may be of a whole disk. */
const TRIM_BYTES_MAX = 128 * 2 ** 40;

/**
 * Whether a record became requests, those of the batch from `from` on, that no disk has: longer than
 * a command can be, or where a double cannot tell one byte from the next. All of them are alike.
 */
export function isBeyondReach({ count, offset, length, op }: RequestBatch, from: number): boolean {
  if (count === from) return false;
  const bytesMax = op[from] === OP.trim ? TRIM_BYTES_MAX : TRANSFER_BYTES_MAX;
  return length[from]! > bytesMax || offset[from]! + length[from]! > 2 ** 53;
}

/** Counts a record that could not be understood; `describe` is called for the first alone. */
export function countMalformed(tally: FileTally, describe: () => string): void {
  tally.malformed++;
  tally.firstMalformed ??= { line: tally.lines, text: describe() };
}
