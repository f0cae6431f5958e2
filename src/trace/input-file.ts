/** A file of a trace before it is read: what it holds, by its head and by what the user says. */

import { TmemError } from '../lib/errors.ts';
import { type OpenedFile, openByteSource } from './byte-source.ts';
import { type FileHead, fileHeadOf, HEAD_BYTES } from './file-head.ts';
import {
  type FileTally,
  type FormatOptions,
  type OpenTraceOptions,
  type Reading,
  SECTOR_BYTES_DEFAULT,
  TIME_UNITS,
  type TraceFormat,
} from './format.ts';
import { AUTO, detectFormat, formatOfName } from './formats.ts';
import { csv, libCacheSimCsv } from './readers/csv.ts';
import { RequestBatch } from './request-batch.ts';
import { VolumeTable } from './volume-table.ts';

/** Those whose columns may have any order. */
const CSV_FORMATS: readonly TraceFormat[] = [csv, libCacheSimCsv];
/** The requests of a head that are looked at for its first time. */
const HEAD_CAPACITY = 2048;

/** What is known of a file when it was looked at. */
export interface InputFile {
  readonly format: TraceFormat;
  readonly path: string;
  readonly head: FileHead;
  readonly reading: Reading;
  /** Where it is a pipe, which cannot be opened again. */
  readonly pipe: OpenedFile | undefined;
  readonly sizeBytes: number;
  readonly firstTimeUs: number;
  readonly warnings: readonly string[];
}

/** What is counted while a file is read, before anything was. */
export function newTally(path: string, { recordName = 'line' }: Reading): FileTally {
  return {
    path,
    recordName,
    lines: 0,
    malformed: 0,
    dropped: 0,
    firstMalformed: undefined,
    warnings: [],
  };
}

/** By what the times of a file are multiplied where the user says what they count; else 1. */
export function timeScaleOf({ timeUnit }: Reading, options: FormatOptions): number {
  if (timeUnit === undefined || options.timeUnit === undefined) return 1;
  return TIME_UNITS[options.timeUnit] / TIME_UNITS[timeUnit];
}

/** The earliest time in the head; minus infinity where there is none, so that it is opened first. */
function firstTimeOf(head: FileHead, reading: Reading, scale: number): number {
  const batch = new RequestBatch(HEAD_CAPACITY);
  const parser = reading.createParser({
    volumes: new VolumeTable(),
    volumeName: head.name,
    sectorBytes: SECTOR_BYTES_DEFAULT,
    tally: newTally(head.path, reading),
    ordinal: { next: 0 },
  });
  parser.parse(head.bytes, 0, head.bytes.length, head.isWhole, batch);
  return batch.count === 0
    ? Number.NEGATIVE_INFINITY
    : batch.timeUs.subarray(0, batch.count).reduce((least, time) => Math.min(least, time)) * scale;
}

/** Suffixes that promise a format, or, with true, a text. */
const PROMISES: Readonly<Record<string, RegExp | true>> = {
  ...{ csv: true, txt: true, log: true, json: true },
  ...{ lis: /^arc$/, spc: /^spc$/, vscsi: /^vscsi/, lcs: /^lcs$/, iolog: /^fio/, blktrace: /^blk/ },
};

/** What there is to say of a name that does not fit the content. */
function misnamed(head: FileHead, { compression }: OpenedFile, format: TraceFormat): string[] {
  const { path, name, isText } = head;
  const says: string[] = [];
  const suffix = /\.(gz|zst)$/i.exec(path)?.[1]?.toLowerCase();
  if (suffix !== undefined && compression !== (suffix === 'gz' ? 'gzip' : 'zstd')) {
    const what = compression === 'none' ? 'not compressed' : compression;
    says.push(`${path} is ${what}, and read as that`);
  }
  const promise = PROMISES[/\.([a-z]+)$/.exec(name)?.[1] ?? ''];
  if (promise === undefined || (promise === true ? isText : promise.test(format.name))) return says;
  return [...says, `${path} is ${format.title} whatever its name says, and read as that`];
}

/** Who names columns says that it is CSV, whatever it looks like. */
function formatFor(head: FileHead, { format: named = AUTO, columns }: OpenTraceOptions) {
  if (columns === undefined) return named === AUTO ? detectFormat(head) : formatOfName(named);
  const format = formatOfName(named === AUTO ? csv.name : named);
  if (CSV_FORMATS.includes(format)) return format;
  throw new TmemError(
    'usage',
    `--columns are of CSV, and the format ${format.name} has columns of its own; leave one out`,
  );
}

/**
 * Finds out, or checks, the format of a file by its beginning. Rejects with a TmemError, one
 * sentence, for a file that is missing, empty or of no known format.
 */
export async function lookAt(path: string, options: OpenTraceOptions): Promise<InputFile> {
  const opened = await openByteSource(path);
  let isKept = false;
  try {
    const bytes = await opened.source.peek(HEAD_BYTES);
    const head = fileHeadOf(path, Buffer.from(bytes), bytes.length < HEAD_BYTES);
    if (bytes.length === 0) {
      throw new TmemError('invalid', `${path} is empty; there is no trace in it`);
    }
    const format = formatFor(head, options);
    const reading = format.read(head, options);
    isKept = !opened.isRegular;
    const scale = timeScaleOf(reading, options);
    return {
      ...{ path, format, head, reading, sizeBytes: opened.sizeBytes },
      pipe: isKept ? opened : undefined,
      firstTimeUs: firstTimeOf(head, reading, scale),
      warnings: [...misnamed(head, opened, format), ...(reading.warnings ?? [])],
    };
  } finally {
    if (!isKept) await opened.source.close();
  }
}
