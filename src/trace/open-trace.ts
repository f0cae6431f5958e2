/** Opens recorded workloads of any known format, one file or several that are one trace. */

import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { TmemError } from '../lib/errors.ts';
import { type OpenedFile, openByteSource, readError } from './byte-source.ts';
import { clockWarning } from './clock-check.ts';
import { type FileHead, fileHeadOf, HEAD_BYTES, traceName } from './file-head.ts';
import { readFileBatches, showMalformed } from './file-reader.ts';
import {
  type FileTally,
  type FormatOptions,
  type Reading,
  type RecordName,
  TIME_UNITS,
  type TraceFormat,
} from './format.ts';
import { AUTO, detectFormat, formatOfName, likelyFormat } from './formats.ts';
import { type MergeInput, mergeByTime } from './merge.ts';
import { csv, libCacheSimCsv } from './readers/csv.ts';
import { RequestBatch } from './request-batch.ts';
import type { Trace, TraceStatistics } from './trace.ts';
import { VolumeTable } from './volume-table.ts';

/** What the user says of a trace; whatever is left out is told by its files. */
export interface OpenTraceOptions extends FormatOptions {
  /** The name of a format, or `auto`, which is what counts if it is left out. */
  readonly format?: string | undefined;
}

/** Those whose columns may have any order. */
const CSV_FORMATS: readonly TraceFormat[] = [csv, libCacheSimCsv];
const MIB = 1024 * 1024;
const SECTOR_BYTES = 512;
/** Memory for the windows of all files of a trace, as far as they fit. */
const WINDOWS_BYTES = 16 * MIB;
const WINDOW_BYTES_MIN = 64 * 1024;
const FILES_AT_ONCE_MAX = 512;
/** From so many files on, batches of each are small. */
const FILES_FOR_SMALL_BATCHES = 16;
const SMALL_BATCH_CAPACITY = 2048;

/** A file of a trace before it is read. */
interface InputFile {
  readonly path: string;
  readonly head: FileHead;
  readonly reading: Reading;
  /** Where it is a pipe, which cannot be opened again. */
  readonly pipe: OpenedFile | undefined;
  readonly sizeBytes: number;
  readonly firstTimeUs: number;
  readonly warnings: readonly string[];
}

function newTally(path: string, { recordName = 'line' }: Reading): FileTally {
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

function timeScaleOf({ timeUnit }: Reading, options: FormatOptions): number {
  if (timeUnit === undefined || options.timeUnit === undefined) return 1;
  return TIME_UNITS[options.timeUnit] / TIME_UNITS[timeUnit];
}

/** The earliest time in the head; minus infinity where there is none, so that it is opened first. */
function firstTimeOf(head: FileHead, reading: Reading, scale: number): number {
  const batch = new RequestBatch(SMALL_BATCH_CAPACITY);
  const parser = reading.createParser({
    volumes: new VolumeTable(),
    volumeName: head.name,
    sectorBytes: SECTOR_BYTES,
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

async function lookAt(path: string, options: OpenTraceOptions): Promise<[InputFile, TraceFormat]> {
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
    const input = {
      ...{ path, head, reading, sizeBytes: opened.sizeBytes },
      pipe: isKept ? opened : undefined,
      firstTimeUs: firstTimeOf(head, reading, scale),
      warnings: [...misnamed(head, opened, format), ...(reading.warnings ?? [])],
    };
    return [input, format];
  } finally {
    if (!isKept) await opened.source.close();
  }
}

/** One trace is of one format: mixing them would mix up units and volumes. */
function refuseMixture(inputs: readonly InputFile[], formats: readonly TraceFormat[]): void {
  const [one] = inputs;
  for (const [index, other] of inputs.entries()) {
    const [what, another] = differenceOf([one ?? other, formats[0]], [other, formats[index]]);
    if (what === undefined) continue;
    const sentence = `${one?.path} ${what} but ${other.path} ${another}`;
    const advice =
      formats[0] === formats[index]
        ? 'give them to commands of their own'
        : 'make them one before (tmem trace merge)';
    throw new TmemError('invalid', `${sentence}, and such files are not one trace; ${advice}`);
  }
}

type InputOfFormat = readonly [InputFile, TraceFormat | undefined];

/** What is said of each of two files that cannot be one trace; nothing of those that can. */
function differenceOf([one, format]: InputOfFormat, [other, otherFormat]: InputOfFormat): string[] {
  if (format !== otherFormat) return [`is ${format?.title}`, `is ${otherFormat?.title}`];
  const [reading, otherReading] = [one.reading, other.reading];
  if (reading.unit !== otherReading.unit) {
    return [`has ${reading.unit}`, `has ${otherReading.unit}`];
  }
  if (reading.hasClock === otherReading.hasClock) return [];
  return reading.hasClock ? ['has times', 'has none'] : ['has no times', 'has'];
}

/** `1 line`, `2 lines`. */
function countedOf(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}

/** What `TraceStatistics` says before anything was read. */
function newStatistics(): TraceStatistics {
  return {
    ...{ lines: 0, requests: 0, malformed: 0, dropped: 0, firstMalformed: undefined },
    ...{ firstTimeUs: Number.NaN, lastTimeUs: Number.NaN, warnings: [] },
  };
}

class FileTrace implements Trace {
  readonly formatName: string;
  readonly name: string;
  readonly paths: readonly string[];
  readonly unit: 'bytes' | 'keys';
  readonly hasClock: boolean;
  readonly recordName: RecordName;
  readonly sampleRate: number;
  readonly sampleRates: readonly number[];
  readonly isMergedSample: boolean;
  readonly canRereads: boolean;
  readonly sizeBytes: number;
  statistics: TraceStatistics = newStatistics();
  readonly #inputs: readonly InputFile[];
  readonly #format: TraceFormat;
  readonly #options: FormatOptions;
  #volumes = new VolumeTable();
  #tallies: FileTally[] = [];
  #open = new Set<OpenedFile>();
  #closedBytes = 0;
  #hash: Promise<string> | undefined;
  #isPipeRead = false;

  constructor(inputs: readonly InputFile[], format: TraceFormat, options: FormatOptions) {
    const [first] = inputs;
    if (first === undefined) throw new Error('a trace has at least one file');
    this.#inputs = inputs;
    this.#format = format;
    this.#options = options;
    this.formatName = format.name;
    this.name = traceName(first.path);
    this.paths = inputs.map(({ path }) => path);
    this.unit = first.reading.unit;
    this.hasClock = first.reading.hasClock;
    this.recordName = first.reading.recordName ?? 'line';
    this.sampleRates = inputs.map(({ reading }) => reading.sampleRate ?? 1);
    this.sampleRate = Math.min(...this.sampleRates);
    const isMerged = inputs.length > 1 || first.reading.isMergedSample === true;
    this.isMergedSample = this.sampleRate < 1 && isMerged;
    this.canRereads = inputs.every(({ pipe }) => pipe === undefined);
    this.sizeBytes = inputs.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  }

  get volumes(): readonly string[] {
    return this.#volumes.names;
  }

  get doneBytes(): number {
    let done = this.#closedBytes;
    for (const opened of this.#open) done += opened.doneBytes();
    return done;
  }

  hash(): Promise<string> {
    this.#hash ??= this.#computeHash();
    return this.#hash;
  }

  async #computeHash(): Promise<string> {
    const hash = createHash('sha256');
    for (const { path, pipe } of this.#inputs) {
      if (pipe !== undefined) refusePipe(path);
      try {
        for await (const piece of createReadStream(path, { highWaterMark: MIB })) {
          hash.update(piece as Buffer);
        }
      } catch (cause) {
        throw readError(path, cause);
      }
    }
    return hash.digest('hex');
  }

  async *batches(): AsyncGenerator<RequestBatch> {
    if (this.#isPipeRead) refusePipe(this.#inputs.find(({ pipe }) => pipe)?.path ?? this.name);
    this.#isPipeRead = !this.canRereads;
    this.#volumes = new VolumeTable();
    this.statistics = newStatistics();
    this.#tallies = [];
    this.#closedBytes = 0;
    for (const { warnings } of this.#inputs) this.statistics.warnings.push(...warnings);
    for await (const batch of this.#allBatches()) {
      this.#count(batch);
      yield batch;
    }
    this.#sum();
    this.#finish();
  }

  /** Files without times follow each other; others are merged. */
  #allBatches(): AsyncGenerator<RequestBatch> {
    const ordinal = { next: 0 };
    const inputs = this.#inputs.map(
      (input): MergeInput => ({
        firstTimeUs: this.hasClock ? input.firstTimeUs : 0,
        open: () => this.#readFile(input, ordinal),
      }),
    );
    const [only, ...others] = inputs;
    if (only !== undefined && others.length === 0) return only.open();
    if (!this.hasClock) return oneByOne(inputs);
    return mergeByTime(inputs, FILES_AT_ONCE_MAX, () => {
      const sentence = `more than ${FILES_AT_ONCE_MAX} files overlap in time`;
      throw new TmemError('invalid', `${sentence}; merge some of them first (tmem trace merge)`);
    });
  }

  async *#readFile(input: InputFile, ordinal: { next: number }): AsyncGenerator<RequestBatch> {
    const { path, head, reading, pipe } = input;
    const tally = newTally(path, reading);
    this.#tallies.push(tally);
    const opened = pipe ?? (await openByteSource(path));
    this.#open.add(opened);
    const files = this.#inputs.length;
    const likely = likelyFormat(head);
    const sectorBytes = this.#options.sectorBytes ?? SECTOR_BYTES;
    const volumeName = traceName(path);
    const context = { volumes: this.#volumes, volumeName, sectorBytes, tally, ordinal };
    try {
      yield* readFileBatches({
        source: opened.source,
        parser: reading.createParser(context),
        tally,
        title: this.#format.title,
        lookedLike: likely === this.#format ? undefined : likely?.name,
        timeScale: timeScaleOf(reading, this.#options),
        batch: new RequestBatch(files > FILES_FOR_SMALL_BATCHES ? SMALL_BATCH_CAPACITY : undefined),
        windowBytes: Math.max(WINDOW_BYTES_MIN, Math.min(MIB, Math.floor(WINDOWS_BYTES / files))),
      });
    } finally {
      this.#closedBytes += opened.doneBytes();
      this.#open.delete(opened);
      await opened.source.close();
    }
  }

  #count(batch: RequestBatch): void {
    const { statistics } = this;
    if (statistics.requests === 0) statistics.firstTimeUs = batch.timeUs[0] ?? Number.NaN;
    statistics.requests += batch.count;
    statistics.lastTimeUs = batch.timeUs[batch.count - 1] ?? Number.NaN;
    this.#sum();
  }

  #sum(): void {
    const { statistics } = this;
    let [lines, malformed, dropped] = [0, 0, 0];
    for (const tally of this.#tallies) {
      lines += tally.lines;
      malformed += tally.malformed;
      dropped += tally.dropped;
      const { path, firstMalformed: first } = tally;
      if (first !== undefined) statistics.firstMalformed ??= { path, ...first };
    }
    Object.assign(statistics, { lines, malformed, dropped });
  }

  #finish(): void {
    const { requests, lines, malformed, dropped, firstTimeUs, lastTimeUs, warnings } =
      this.statistics;
    if (requests === 0) {
      const sentence = `${this.paths.join(', ')} holds no requests in ${countedOf(lines, this.recordName)}`;
      throw new TmemError('invalid', `${sentence} of ${this.#format.title}; look at the file`);
    }
    for (const tally of this.#tallies) warnings.push(...tally.warnings);
    const firstMalformed = this.#tallies.find((tally) => tally.firstMalformed !== undefined);
    if (firstMalformed !== undefined) {
      const count = `${malformed} of ${countedOf(lines, this.recordName)} were left out as malformed`;
      warnings.push(`${count}, first ${showMalformed(firstMalformed)}`);
    }
    if (dropped > 0) warnings.push(`the recorder had to leave out ${dropped} requests`);
    const odd = this.hasClock ? clockWarning(requests, firstTimeUs, lastTimeUs) : undefined;
    if (odd !== undefined) warnings.push(odd);
  }
}

async function* oneByOne(inputs: readonly MergeInput[]): AsyncGenerator<RequestBatch> {
  for (const input of inputs) yield* input.open();
}

function refusePipe(path: string): never {
  throw new TmemError(
    'unsupported',
    `${path} is a pipe and can be read once; save it to a file first`,
  );
}

/**
 * Opens a trace: finds out, or checks, its format, without reading more than the beginning of each
 * file. Several files are one trace, merged by time where the format has times. Throws a
 * `TmemError`, one sentence, for files that are missing, empty, of no known format, or of several.
 */
export async function openTrace(
  paths: readonly string[],
  options: OpenTraceOptions = {},
): Promise<Trace> {
  if (paths.length === 0) throw new TmemError('usage', 'no trace was given; name its files');
  const inputs: InputFile[] = [];
  const formats: TraceFormat[] = [];
  try {
    for (const path of paths) {
      const [input, format] = await lookAt(path, options);
      inputs.push(input);
      formats.push(format);
    }
    refuseMixture(inputs, formats);
    const [format] = formats;
    if (format === undefined) throw new Error('every file has a format');
    return new FileTrace(inputs, format, options);
  } catch (error) {
    for (const { pipe } of inputs) await pipe?.source.close();
    throw error;
  }
}
