/** One recording of what clients ask: requests go into memory at once, and to its file behind that. */

import { Command, CommandFlag } from '../../nbd/protocol.ts';
import type { RequestRecorder } from '../../nbd/recording.ts';
import type { RecordingFile } from '../../trace/own/recording-file.ts';
import { OwnTraceWriter } from '../../trace/own/writer.ts';
import { OP } from '../../trace/request-batch.ts';

/** Memory for what is not on the disk yet: 32,512 requests. */
const PIECES = 16;
const PIECE_BYTES = 64 * 1024;
export const RECORD_BUFFER_BYTES = PIECES * PIECE_BYTES;
/** What a service that is killed loses of its recording at most, milliseconds. */
const FLUSH_MS = 5_000;
const US_PER_SECOND = 1e6;
const US_PER_MS = 1e3;
/** The flag of a record for a write that is answered when the disk has it. */
const SYNC_FLAG = 4;

const NOT_RECORDED = -1;
/** Operations of traces by command of NBD; what else there is brings no data to anybody. */
const OP_BY_COMMAND = new Int8Array(16).fill(NOT_RECORDED);
OP_BY_COMMAND[Command.READ] = OP.read;
OP_BY_COMMAND[Command.WRITE] = OP.write;
OP_BY_COMMAND[Command.TRIM] = OP.trim;
OP_BY_COMMAND[Command.FLUSH] = OP.flush;
OP_BY_COMMAND[Command.WRITE_ZEROES] = OP.zero;

/** Why a recording ended. */
export type RecordEnding = 'asked' | 'limit' | 'failed';

export interface RecorderOptions {
  /** Belongs to the recorder, which closes it. */
  readonly file: RecordingFile;
  /** Names of the exports by number. */
  readonly volumes: readonly string[];
  readonly limitBytes: number;
  readonly sampleRate: number;
  /** It takes no more, by itself: it has its size, or the disk failed. Called once, then `close` it. */
  readonly onEnd: (ending: RecordEnding) => void;
}

export class Recorder implements RequestRecorder {
  readonly startedAt = new Date();
  readonly path: string;
  readonly limitBytes: number;
  readonly sampleRate: number;
  readonly #file: RecordingFile;
  readonly #writer: OwnTraceWriter;
  readonly #onEnd: (ending: RecordEnding) => void;
  readonly #startSeconds = performance.now() / 1000;
  #timer: NodeJS.Timeout | undefined;
  #hasEnded = false;

  private constructor({ file, volumes, limitBytes, sampleRate, onEnd }: RecorderOptions) {
    this.path = file.path;
    this.limitBytes = limitBytes;
    this.sampleRate = sampleRate;
    this.#file = file;
    this.#onEnd = onEnd;
    this.#writer = new OwnTraceWriter(file, {
      startUs: this.startedAt.getTime() * US_PER_MS,
      sizeBytesMax: limitBytes,
      pieces: PIECES,
      pieceBytes: PIECE_BYTES,
      ...{ volumes, sampleRate },
    });
  }

  /** Begins a recording in an empty file, which goes if it cannot be written: a TmemError then. */
  static async start(options: RecorderOptions): Promise<Recorder> {
    const recorder = new Recorder(options);
    try {
      await recorder.#writer.start();
    } catch (cause) {
      await options.file.discard();
      throw cause;
    }
    recorder.#timer = setInterval(() => void recorder.#flush(), FLUSH_MS).unref();
    return recorder;
  }

  /** Requests in the file or on their way there, those left out for want of room, and its size. */
  get requests(): number {
    return this.#writer.requests;
  }

  get dropped(): number {
    return this.#writer.dropped;
  }

  get sizeBytes(): number {
    return this.#writer.sizeBytes;
  }

  /** Of `requests` and `sizeBytes`, what never came to the file since the disk failed. */
  get unwritten(): { readonly requests: number; readonly bytes: number } {
    return this.#writer.unwritten;
  }

  record(
    exportNumber: number,
    command: number,
    flags: number,
    offset: number,
    length: number,
    seconds: number,
  ): void {
    const op = OP_BY_COMMAND[command] ?? NOT_RECORDED;
    if (op === NOT_RECORDED || this.#hasEnded) return;
    const writer = this.#writer;
    const timeUs = (seconds - this.#startSeconds) * US_PER_SECOND;
    const isSync = (flags & CommandFlag.FUA) !== 0;
    writer.append(timeUs, offset, length, exportNumber, op, isSync ? SYNC_FLAG : 0, 0, 0);
    if (writer.isFull) this.#end('limit');
    else if (writer.failure !== undefined) this.#end('failed');
  }

  /** Writes the rest and ends the file. Rejects with a TmemError when that fails. */
  async close(): Promise<void> {
    this.#hasEnded = true;
    clearInterval(this.#timer);
    try {
      await this.#writer.close();
    } finally {
      await this.#file.close();
    }
  }

  async #flush(): Promise<void> {
    await this.#writer.flush().catch(() => this.#end('failed'));
  }

  #end(ending: RecordEnding): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#onEnd(ending);
  }
}
