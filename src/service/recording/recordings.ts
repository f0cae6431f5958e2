/**
 * The recordings of a service, one at a time. Where they go is said at its start, on the machine it
 * runs on: whoever may use the administrative API can switch recording on and off, within the bounds
 * given there, and has no say in any path.
 */

import path from 'node:path';
import type { RecordRequest, RecordStatus } from '../../admin/api.ts';
import { messageOf, systemErrorCode, TmemError } from '../../lib/errors.ts';
import { formatSize, statedSize } from '../../lib/sizes.ts';
import type { Recording } from '../../nbd/recording.ts';
import { checkRecordingDirectory, RecordingFile } from '../../trace/own/recording-file.ts';
import type { RecordSettings, ServiceLog } from '../settings.ts';
import { RECORD_BUFFER_BYTES, type RecordEnding, Recorder } from './recorder.ts';

/** What is not worth a file, bytes. */
const LIMIT_BYTES_MIN = 64 * 1024;
/** Names that are tried for a file before it is given up. */
const NUMBERS_MAX = 1000;

export interface RecordingsOptions {
  /** Undefined where the operator gave no place for recordings. */
  readonly settings: RecordSettings | undefined;
  /** The switch of the server. */
  readonly recording: Recording;
  /** Names of the exports by number. */
  readonly exportNames: readonly string[];
  readonly log: ServiceLog;
}

/** What is counted over all recordings since the start; the present one included. */
export interface RecordTotals {
  readonly isRecording: boolean;
  readonly requests: number;
  readonly dropped: number;
  readonly bytes: number;
}

/** What is in the file of a recording, or on its way there, and what was left out or lost. */
function contentOf({ requests, dropped, sizeBytes, unwritten }: Recorder) {
  return {
    requests: requests - unwritten.requests,
    dropped: dropped + unwritten.requests,
    bytes: sizeBytes - unwritten.bytes,
  };
}

/** The present recording, or the last one. */
interface Latest {
  readonly recorder: Recorder;
  ending: RecordEnding | null;
  failure: string | null;
}

export class Recordings {
  readonly #options: RecordingsOptions;
  #latest: Latest | undefined;
  /** Counts of recordings before the latest. */
  #requests = 0;
  #dropped = 0;
  #bytes = 0;
  /** Starts and ends take turns. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(options: RecordingsOptions) {
    this.#options = options;
  }

  /** Memory of the recording under way, bytes. */
  get bufferBytes(): number {
    return this.#isRecording ? RECORD_BUFFER_BYTES : 0;
  }

  get totals(): RecordTotals {
    const { recorder } = this.#latest ?? {};
    const { requests = 0, sizeBytes = 0 } = recorder ?? {};
    const dropped = recorder === undefined ? 0 : contentOf(recorder).dropped;
    return {
      isRecording: this.#isRecording,
      // Counters never go back: what a failing disk lost was recorded, and then left out.
      requests: this.#requests + requests,
      dropped: this.#dropped + dropped,
      bytes: this.#bytes + sizeBytes,
    };
  }

  status(): RecordStatus {
    const { settings } = this.#options;
    const latest = this.#latest;
    const { recorder } = latest ?? {};
    return {
      isRecording: this.#isRecording,
      canRecord: settings !== undefined,
      file: recorder?.path ?? null,
      startedAt: recorder?.startedAt.toISOString() ?? null,
      ...(recorder === undefined ? { requests: 0, dropped: 0, bytes: 0 } : contentOf(recorder)),
      limitBytes: recorder?.limitBytes ?? 0,
      sampleRate: recorder?.sampleRate ?? settings?.sampleRate ?? 1,
      leftBytes: settings === undefined ? 0 : this.#leftBytes(settings),
      ending: latest?.ending ?? null,
      failure: latest?.failure ?? null,
    };
  }

  /** Begins what was asked for at the start of the service. Rejects when a path will not do. */
  async startConfigured(): Promise<void> {
    const { path: file, directory } = this.#options.settings ?? {};
    if (directory !== undefined) await checkRecordingDirectory(directory);
    if (file === undefined) return;
    await this.#inTurn(async () => {
      const created = await RecordingFile.create(file);
      await this.#end('asked'); // of one that somebody was quick to ask for
      await this.#begin(created, {});
    });
  }

  /**
   * Begins a recording in a new file. Rejects with a TmemError: `unsupported` without a place for
   * it, `busy` while there is one, `no-space` when the recordings have come to their limit, `io` when
   * there can be no file.
   */
  start(request: RecordRequest): Promise<RecordStatus> {
    return this.#inTurn(async () => {
      const { settings } = this.#options;
      if (settings === undefined) throw noPlace();
      if (this.#isRecording) throw underWay(this.#latest?.recorder.path ?? '');
      this.#checkRoom(settings);
      await this.#begin(await createNew(settings, new Date()), request);
      return this.status();
    });
  }

  /** Ends the recording, if there is one; its file is complete then. Never rejects. */
  stop(): Promise<RecordStatus> {
    return this.#inTurn(async () => {
      await this.#end('asked');
      return this.status();
    });
  }

  get #isRecording(): boolean {
    return this.#latest?.ending === null;
  }

  /** What further recordings may come to. */
  #leftBytes({ limitBytes }: RecordSettings): number {
    return Math.max(0, limitBytes - this.totals.bytes);
  }

  #checkRoom(settings: RecordSettings): void {
    if (this.#leftBytes(settings) >= LIMIT_BYTES_MIN) return;
    const limit = statedSize(settings.limitBytes);
    const sentence = `the recordings of this service have come to the ${limit} they may have`;
    throw new TmemError('no-space', `${sentence}; start it with a larger --record-limit`);
  }

  async #begin(file: RecordingFile, request: RecordRequest): Promise<void> {
    const { settings, recording, exportNames, log } = this.#options;
    if (settings === undefined) throw noPlace();
    const recorder = await Recorder.start({
      file,
      volumes: exportNames,
      limitBytes: Math.min(request.limitBytes ?? settings.limitBytes, this.#leftBytes(settings)),
      sampleRate: request.sampleRate ?? settings.sampleRate,
      onEnd: (ending) => {
        recording.recorder = undefined;
        void this.#inTurn(async () => {
          // By its turn the next one may be under way.
          if (this.#latest?.recorder.path === file.path) await this.#end(ending);
        });
      },
    });
    const { requests, dropped, bytes } = this.totals;
    this.#requests = requests;
    this.#dropped = dropped;
    this.#bytes = bytes;
    this.#latest = { recorder, ending: null, failure: null };
    recording.recorder = recorder;
    log.info(`recording to ${recorder.path}`);
  }

  async #end(ending: RecordEnding): Promise<void> {
    const latest = this.#latest;
    if (latest === undefined || latest.ending !== null) return;
    const { recorder } = latest;
    this.#options.recording.recorder = undefined;
    latest.ending = ending;
    try {
      await recorder.close();
    } catch (cause) {
      latest.ending = 'failed';
      latest.failure = messageOf(cause);
    }
    this.#tell(latest);
  }

  #tell({ recorder, ending, failure }: Latest): void {
    const { log } = this.#options;
    const { requests, dropped, bytes } = contentOf(recorder);
    const what = `recording to ${recorder.path} ended with ${requests} requests, ${formatSize(bytes)}`;
    const lost = dropped === 0 ? '' : `; ${dropped} were left out, since the disk was slower`;
    if (failure !== null) log.warn(`${what}: ${failure}`);
    else if (ending === 'limit') log.warn(`${what}, at its limit${lost}`);
    else log.info(what + lost);
  }

  #inTurn<Result>(work: () => Promise<Result>): Promise<Result> {
    const mine = this.#turn.then(work);
    this.#turn = mine.catch(() => undefined);
    return mine;
  }
}

/** A file that was not there: in the directory by the time of day, else beside the one given. */
async function createNew(settings: RecordSettings, now: Date): Promise<RecordingFile> {
  const { directory, path: given = '' } = settings;
  const stamp = now.toISOString().replace(/\.\d+/, '').replaceAll(/[-:]/g, '');
  const first = directory === undefined ? given : path.join(directory, `tmem-${stamp}.trace`);
  const { dir, name, ext } = path.parse(first);
  for (let number = 1; ; number++) {
    const next = number === 1 ? first : path.join(dir, `${name}-${number}${ext}`);
    try {
      return await RecordingFile.create(next);
    } catch (cause) {
      const isTaken = systemErrorCode((cause as Error).cause) === 'EEXIST';
      if (!isTaken || number === NUMBERS_MAX) throw ours(cause);
    }
  }
}

/** Whoever asks is not to blame for the place, except that a full disk is worth a second try. */
function ours(cause: unknown): TmemError {
  const kind = cause instanceof TmemError && cause.kind === 'no-space' ? 'no-space' : 'io';
  return new TmemError(kind, messageOf(cause), { cause });
}

function noPlace(): TmemError {
  const sentence = 'this service was given no place for recordings';
  return new TmemError('unsupported', `${sentence}; start it with --record-dir or --record`);
}

function underWay(file: string): TmemError {
  return new TmemError('busy', `a recording is under way, to ${file}; stop it first`);
}
