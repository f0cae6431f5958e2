/**
 * Writes our own trace format. Requests are appended synchronously to memory that was reserved
 * before, so that a service can record what it serves; full pieces are written behind its back. When
 * the disk is slower, or the file has its size, requests are left out and counted.
 */

import { crc32 } from 'node:zlib';
import {
  BLOCK_BYTES,
  encodeHeader,
  encodeLatency,
  encodeName,
  FIELD,
  HEADER_BYTES,
  RECORD_BYTES,
  RECORDS_PER_BLOCK,
  SPECIAL,
} from './format.ts';
import { PageSampler, sampleThresholdOf } from './page-sampler.ts';

/** Where the bytes go. */
export interface TraceSink {
  /** Writes all of `bytes`, which stay as they are until then. Writes do not overlap. */
  write(bytes: Uint8Array, position: number): Promise<void>;
}

/** What is written into the header, and how much memory and room there is. */
export interface OwnWriterOptions {
  readonly unit?: 'bytes' | 'keys';
  readonly hasClock?: boolean;
  /** The wall clock at time 0 of the records, microseconds since 1970; 0 where not known. */
  readonly startUs?: number;
  /** Volumes that are known before; others come with `addVolume`. */
  readonly volumes?: readonly string[];
  /** SHA-256 of what it is made from, in hex. */
  readonly sourceHash?: string;
  /** The share of pages whose requests are recorded, above 0 and up to 1, which is all of them. */
  readonly sampleRate?: number;
  /** The requests are such a sample already: that is noted, and nothing is left out. */
  readonly isSampled?: boolean;
  /** As `Trace.isMergedSample`. */
  readonly isMergedSample?: boolean;
  /** What the file may come to, bytes. */
  readonly sizeBytesMax?: number;
  /** Memory for what is not written yet: pieces, and the bytes of each, whole blocks. */
  readonly pieces?: number;
  readonly pieceBytes?: number;
}

const PIECES = 16;
const PIECE_BYTES = 64 * 1024;
/** The length of a record has 32 bits; longer requests become several. */
const LENGTH_MAX = 2 ** 32 - 4096;
const TWO_32 = 2 ** 32;

/** A piece of the file in memory. */
interface Piece {
  readonly bytes: Buffer;
  readonly view: DataView;
}

/** A trace that is being written; `start` before anything else, `close` at the end, which makes it complete. */
export class OwnTraceWriter {
  /** Records of requests in the file, or on their way there. */
  requests = 0;
  /** Requests that were left out for want of room; those a sample leaves out do not count. */
  dropped = 0;
  /** Of `requests`, and of `sizeBytes`, what is not in the file since a write failed. */
  unwritten = { requests: 0, bytes: 0 };
  readonly #sink: TraceSink;
  readonly #options: OwnWriterOptions;
  readonly #sampler: PageSampler | undefined;
  readonly #sizeBytesMax: number;
  readonly #volumes: string[];
  /** Volumes from this number on are not in the file yet. */
  #namedVolumes: number;
  readonly #free: Piece[] = [];
  #current: Piece | undefined;
  /** How much of the current piece is filled. */
  #fill = 0;
  /** `requests` before the current piece. */
  #requestsBefore = 0;
  /** Where the block that is being filled begins in it. */
  #blockStart = 0;
  #block = 0;
  /** Where the current piece begins in the file. */
  #position = HEADER_BYTES;
  /** Left out since the last record. */
  #lost = 0;
  #isFull = false;
  #failure: unknown;
  #writes: Promise<void> = Promise.resolve();
  #writesUnderWay = 0;

  /** Nothing is written before `start`. */
  constructor(sink: TraceSink, options: OwnWriterOptions = {}) {
    const { sampleRate = 1, pieces = PIECES, pieceBytes = PIECE_BYTES } = options;
    this.#sink = sink;
    this.#options = options;
    const isChosenHere = sampleRate < 1 && options.isSampled !== true;
    this.#sampler = isChosenHere ? new PageSampler(sampleRate) : undefined;
    this.#sizeBytesMax = options.sizeBytesMax ?? Number.POSITIVE_INFINITY;
    this.#volumes = [...(options.volumes ?? [])];
    this.#namedVolumes = 0;
    for (let piece = 0; piece < pieces; piece++) {
      const bytes = Buffer.alloc(pieceBytes);
      this.#free.push({ bytes, view: new DataView(bytes.buffer, bytes.byteOffset, pieceBytes) });
    }
  }

  /** No more fits under the size limit. */
  get isFull(): boolean {
    return this.#isFull;
  }

  /** What a write failed with; nothing is taken any more then. */
  get failure(): unknown {
    return this.#failure;
  }

  /** The file's size when all that was taken is written, bytes. */
  get sizeBytes(): number {
    return this.#position + this.#fill;
  }

  /** Writes the header. Rejects with what the sink rejects with. */
  async start(): Promise<void> {
    await this.#sink.write(this.#header(false), 0);
  }

  /** Adds a volume and answers its number. */
  addVolume(name: string): number {
    return this.#volumes.push(name) - 1;
  }

  /**
   * Takes a request, whole numbers from 0; never waits. `flags` are 1 for
   * a page used once, 2 for reading ahead, 4 for a write through to the disk. Answers false
   * if it was left out for want of room, and counted.
   */
  append(
    timeUs: number,
    offset: number,
    length: number,
    volume: number,
    op: number,
    flags: number,
    latencyUs: number,
    contentBytes: number,
  ): boolean {
    const time = Math.max(0, Math.floor(timeUs));
    const tail = (encodeLatency(latencyUs) << 16) | (flags << 8) | op;
    if (this.#sampler === undefined) {
      return this.#put(time, offset, length, volume, tail, contentBytes);
    }
    this.#sampler.begin(volume, offset, length, this.#options.unit === 'keys');
    let isTaken = true;
    while (this.#sampler.next()) {
      const { runOffset, runLength } = this.#sampler;
      if (!this.#put(time, runOffset, runLength, volume, tail, contentBytes)) isTaken = false;
    }
    return isTaken;
  }

  /** Whether `append` has room for a whole piece of records, or will never have any again. */
  get hasRoom(): boolean {
    return this.#free.length > 1 || this.#isFull || this.#failure !== undefined;
  }

  /** Resolves when `hasRoom`: for those who would rather wait than lose requests. */
  async room(): Promise<void> {
    while (!this.hasRoom) await this.#oneWrite();
  }

  /** Gives everything that was taken to the sink; rejects if a write failed. */
  async flush(): Promise<void> {
    if (this.#fill > 0) this.#submit(true);
    await this.#writes;
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** Ends the trace: the rest is written, then the header. Rejects if a write failed. */
  async close(): Promise<void> {
    if (this.#lost > 0) this.#putLost();
    if (this.#fill > 0) this.#submit(false);
    await this.#writes;
    if (this.#failure !== undefined) throw this.#failure;
    await this.#sink.write(this.#header(true), 0);
  }

  #header(isComplete: boolean): Buffer {
    const { unit = 'bytes', hasClock = true, startUs = 0, sourceHash = '' } = this.#options;
    const { sampleRate = 1, isMergedSample = false } = this.#options;
    return encodeHeader({
      ...{ startUs, isComplete, unit, hasClock, sourceHash, isMergedSample },
      requests: isComplete ? this.requests : 0,
      dropped: isComplete ? this.dropped : 0,
      sampleThreshold: sampleRate < 1 ? sampleThresholdOf(sampleRate) : 0,
      volumes: this.#volumes,
    });
  }

  #put(
    time: number,
    offset: number,
    length: number,
    volume: number,
    tail: number,
    content: number,
  ): boolean {
    let at = offset;
    let left = length;
    do {
      const part = Math.min(left, LENGTH_MAX);
      const ofPart = part < length ? Math.ceil((content * part) / length) : content;
      if (!this.#putRecord(time, at, part, volume, tail, ofPart)) return false;
      at += part;
      left -= part;
    } while (left > 0);
    return true;
  }

  #putRecord(
    time: number,
    offset: number,
    length: number,
    volume: number,
    tail: number,
    content: number,
  ): boolean {
    if (this.#lost > 0) this.#putLost();
    while (this.#namedVolumes < this.#volumes.length && this.#putName(this.#namedVolumes)) {
      this.#namedVolumes++;
    }
    const at = this.#namedVolumes < this.#volumes.length ? -1 : this.#reserve(1);
    if (at < 0) {
      this.dropped++;
      this.#lost++;
      return false;
    }
    this.#fillRecord(at, time, offset, length, volume, tail, content);
    this.requests++;
    this.#endRecord();
    return true;
  }

  #fillRecord(
    at: number,
    time: number,
    offset: number,
    length: number,
    volume: number,
    tail: number,
    content: number,
  ): void {
    const view = this.#current!.view;
    // ToUint32 takes the low half of whole numbers below 2^53.
    view.setUint32(at + FIELD.time, time >>> 0, true);
    view.setUint32(at + FIELD.time + 4, Math.floor(time / TWO_32), true);
    view.setUint32(at + FIELD.offset, offset >>> 0, true);
    view.setUint32(at + FIELD.offset + 4, Math.floor(offset / TWO_32), true);
    view.setUint32(at + FIELD.length, length, true);
    view.setUint32(at + FIELD.volume, volume, true);
    view.setUint32(at + FIELD.op, tail, true);
    view.setUint32(at + FIELD.content, content, true);
  }

  #putLost(): void {
    const at = this.#reserve(1);
    if (at < 0) return;
    this.#fillRecord(at, 0, 0, Math.min(this.#lost, TWO_32 - 1), 0, SPECIAL.lost, 0);
    this.#lost = 0;
    this.#endRecord();
  }

  /** Writes the name of a volume; false if there is no room. */
  #putName(volume: number): boolean {
    const name = encodeName(this.#volumes[volume] ?? '');
    const records = 1 + Math.ceil(name.length / RECORD_BYTES);
    const at = this.#reserve(records);
    const piece = this.#current;
    if (at < 0 || piece === undefined) return false;
    piece.bytes.fill(0, at, at + records * RECORD_BYTES);
    this.#fillRecord(at, 0, 0, name.length, volume, SPECIAL.name, 0);
    name.copy(piece.bytes, at + RECORD_BYTES);
    this.#fill += (records - 1) * RECORD_BYTES;
    this.#endRecord();
    return true;
  }

  /** Where in the current piece `records` of one block go; -1 if there is no room. */
  #reserve(records: number): number {
    if (this.#failure !== undefined || this.#isFull) return -1;
    if (this.#current !== undefined) {
      const used = (this.#fill - this.#blockStart) / RECORD_BYTES;
      if (used + records > RECORDS_PER_BLOCK) this.#endBlock();
    }
    if (this.#current === undefined) {
      this.#current = this.#free.pop();
      if (this.#current === undefined) return -1;
    }
    if (this.#fill === this.#blockStart) {
      this.#isFull = this.#position + this.#fill + BLOCK_BYTES > this.#sizeBytesMax;
      if (this.#isFull) return -1;
    }
    return this.#fill;
  }

  #endRecord(): void {
    this.#fill += RECORD_BYTES;
    if ((this.#fill - this.#blockStart) / RECORD_BYTES === RECORDS_PER_BLOCK) this.#endBlock();
  }

  /** Writes the record that checks the block, and submits the piece if it is full. */
  #endBlock(): void {
    const piece = this.#current;
    if (piece === undefined || this.#fill === this.#blockStart) return;
    this.#putCheck(piece);
    const end = this.#blockStart + BLOCK_BYTES;
    piece.bytes.fill(0, this.#fill, end);
    this.#fill = end;
    this.#blockStart = end;
    // Known before a request is left out for it.
    this.#isFull = this.#position + end + BLOCK_BYTES > this.#sizeBytesMax;
    if (end === piece.bytes.length) this.#submit(true);
  }

  #putCheck({ bytes, view }: Piece): void {
    const count = (this.#fill - this.#blockStart) / RECORD_BYTES;
    const check = crc32(bytes.subarray(this.#blockStart, this.#fill));
    const at = this.#fill;
    bytes.fill(0, at, at + RECORD_BYTES);
    view.setUint32(at, check, true);
    view.setUint32(at + 4, count, true);
    view.setUint32(at + 8, this.#block, true);
    view.setUint8(at + FIELD.op, SPECIAL.check);
    this.#fill += RECORD_BYTES;
    this.#block++;
  }

  /** Hands the current piece to the sink; an unfinished block of it is filled up, or left short. */
  #submit(isFilledUp: boolean): void {
    const piece = this.#current;
    if (piece === undefined) return;
    if (this.#fill > this.#blockStart) {
      this.#putCheck(piece);
      const end = this.#blockStart + BLOCK_BYTES;
      if (isFilledUp) piece.bytes.fill(0, this.#fill, end);
      if (isFilledUp) this.#fill = end;
    }
    const bytes = piece.bytes.subarray(0, this.#fill);
    const position = this.#position;
    const requests = this.requests - this.#requestsBefore;
    this.#requestsBefore = this.requests;
    this.#position += bytes.length;
    this.#current = undefined;
    this.#fill = 0;
    this.#blockStart = 0;
    this.#writesUnderWay++;
    this.#writes = this.#writes.then(() => this.#write(piece, bytes, position, requests));
  }

  async #write(piece: Piece, bytes: Uint8Array, position: number, requests: number) {
    try {
      if (this.#failure === undefined) await this.#sink.write(bytes, position);
    } catch (error) {
      this.#failure = error;
    }
    if (this.#failure !== undefined) {
      this.unwritten.requests += requests;
      this.unwritten.bytes += bytes.length;
    }
    this.#writesUnderWay--;
    this.#free.push(piece);
  }

  /** Resolves when the writes that are under way now are done. */
  async #oneWrite(): Promise<void> {
    if (this.#writesUnderWay === 0) throw new Error('there is no room, and nothing is written');
    await this.#writes;
  }
}
