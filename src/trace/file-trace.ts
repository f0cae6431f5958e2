/** A recorded workload in files of one format: read in one pass, files with times merged by them. */

import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { TmemError } from '../lib/errors.ts';
import { type OpenedFile, openByteSource, readError } from './byte-source.ts';
import { clockWarning } from './clock-check.ts';
import { traceName } from './file-head.ts';
import { readFileBatches, showMalformed } from './file-reader.ts';
import {
  type FileTally,
  type FormatOptions,
  type RecordName,
  SECTOR_BYTES_DEFAULT,
} from './format.ts';
import { likelyFormat } from './formats.ts';
import { type InputFile, newTally, timeScaleOf } from './input-file.ts';
import { type MergeInput, mergeByTime } from './merge.ts';
import { RequestBatch } from './request-batch.ts';
import type { Trace, TraceStatistics } from './trace.ts';
import { VolumeTable } from './volume-table.ts';

const MIB = 1024 * 1024;
/** Memory for the windows of all files of a trace, as far as they fit. */
const WINDOWS_BYTES = 16 * MIB;
const WINDOW_BYTES_MIN = 64 * 1024;
const FILES_AT_ONCE_MAX = 512;
/** From so many files on, batches of each are small. */
const FILES_FOR_SMALL_BATCHES = 16;
const SMALL_BATCH_CAPACITY = 2048;

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

/**
 * How much of a file is the trace: what it had when it was looked at, so that every reading is the
 * same while a recorder writes on. Files of the kernel's do not say how much they have.
 */
function readableBytes({ sizeBytes }: InputFile): number {
  return sizeBytes === 0 ? Number.POSITIVE_INFINITY : sizeBytes;
}

/** A trace of one file or several; all are of the format of the first. */
export class FileTrace implements Trace {
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
  readonly #title: string;
  readonly #options: FormatOptions;
  #volumes = new VolumeTable();
  #tallies: FileTally[] = [];
  #open = new Set<OpenedFile>();
  #closedBytes = 0;
  #hash: Promise<string> | undefined;
  #isPipeRead = false;

  constructor(inputs: readonly InputFile[], options: FormatOptions) {
    const [first] = inputs;
    if (first === undefined) throw new Error('a trace has at least one file');
    this.#inputs = inputs;
    this.#title = first.format.title;
    this.#options = options;
    this.formatName = first.format.name;
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
    for (const input of this.#inputs) {
      const { path, pipe } = input;
      if (pipe !== undefined) refusePipe(path);
      try {
        const range = { highWaterMark: MIB, end: readableBytes(input) - 1 };
        for await (const piece of createReadStream(path, range)) {
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
    const { path, format, head, reading, pipe } = input;
    const tally = newTally(path, reading);
    this.#tallies.push(tally);
    const opened = pipe ?? (await openByteSource(path, readableBytes(input)));
    this.#open.add(opened);
    const files = this.#inputs.length;
    const likely = likelyFormat(head);
    const sectorBytes = this.#options.sectorBytes ?? SECTOR_BYTES_DEFAULT;
    const volumeName = traceName(path);
    const context = { volumes: this.#volumes, volumeName, sectorBytes, tally, ordinal };
    try {
      yield* readFileBatches({
        source: opened.source,
        parser: reading.createParser(context),
        tally,
        title: format.title,
        lookedLike: likely === format ? undefined : likely?.name,
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
      throw new TmemError('invalid', `${sentence} of ${this.#title}; look at the file`);
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
