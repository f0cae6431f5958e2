/**
 * READ: what the cache holds is answered in the same turn of the event loop, into the batch of the
 * writer or from where the pages lie; what it does not hold is fetched into a buffer of the pool and
 * answered from there. A read longer than a piece is answered in chunks as the socket takes them.
 *
 * Source: NBD specification, "NBD_CMD_READ" and "Structured reply types".
 */

import { PIECE_BYTES, type PooledBuffer } from '../../lib/buffer-pool.ts';
import { TmemError } from '../../lib/errors.ts';
import { NO_LOAN } from '../../tmem/lender.ts';
import { Chunk, ChunkFlag, Command, WireBytes } from '../protocol.ts';
import {
  type Cookie,
  DATA_CHUNK_HEADER_BYTES,
  SHORT_REPLY_BYTES_MAX,
  writeChunkHeader,
  writeDataChunkHeader,
  writeErrorChunk,
  writeHoleChunk,
  writeSimpleReply,
} from './replies.ts';
import type { Request } from './request.ts';
import type { Transmission } from './transmission.ts';

/** From this length on, pages are sent from where they lie if they can be lent; below, copied. */
const LEND_BYTES_MIN = 32 * 1024;
/** Fetched data up to this length is copied into the batch, so that its buffer is free at once. */
const COPY_BYTES_MAX = 16 * 1024;

/** Chunks of one long read that may wait for the image at a time. */
const CHUNKS_FETCHING_MAX = 4;

/** A read in more than one chunk, under way. */
interface LongRead {
  readonly cookie: Cookie;
  offset: number;
  bytesLeft: number;
  fetching: number;
  /** Why the first part that failed did. */
  failure: unknown;
  /** Ends it, well or with the failure. */
  settle: () => void;
}

export class Reads {
  readonly #transmission: Transmission;
  /** What precedes the data of a reply, in the style that was agreed on. */
  readonly #headerBytes: number;
  #long: LongRead | undefined;
  readonly #loans: number[] = [];
  #isRetry = false; // the piece at hand was looked up and counted before, and there was no room

  constructor(transmission: Transmission) {
    this.#transmission = transmission;
    const { isStructured } = transmission.options.promises;
    this.#headerBytes = isStructured ? DATA_CHUNK_HEADER_BYTES : WireBytes.SIMPLE_REPLY;
  }

  /** Whether a long read still has chunks to produce; no request is taken before it has not. */
  get isBusy(): boolean {
    return this.#long !== undefined;
  }

  /** Answers a READ or begins to; no when there is no room. */
  begin(request: Request): boolean {
    const { promises } = this.#transmission.options;
    if (request.length > PIECE_BYTES) return this.#beginLong(request);
    const flags = promises.isStructured ? ChunkFlag.DONE : 0;
    const { offset, length } = request;
    if (length === 0 && promises.isStructured) return this.#answerNothing(request);
    const outcome = this.#answerPiece(request, offset, length, flags);
    if (outcome === 'missing') {
      const { missing } = this.#transmission.options.export.reads;
      this.#fetchWhole(request.cookie(), offset, length, missing.slice());
    }
    return outcome !== 'no room';
  }

  /** A read of nothing succeeds, but no content chunk may be empty. */
  #answerNothing(cookie: Cookie): boolean {
    const { writer } = this.#transmission.options;
    if (!writer.reserve(WireBytes.CHUNK_HEADER)) return false;
    const { batch, position } = writer;
    writer.position = writeChunkHeader(batch, position, cookie, ChunkFlag.DONE, Chunk.NONE, 0);
    this.#transmission.countHit();
    return true;
  }

  /** Goes on with a long read; yes when all its chunks are produced or being fetched. */
  goOn(): boolean {
    const long = this.#long;
    while (long !== undefined && long.bytesLeft > 0) {
      if (long.failure !== undefined) {
        long.bytesLeft = 0; // the client will not use what it gets
        break;
      }
      if (long.fetching >= CHUNKS_FETCHING_MAX) return false;
      const { pageBytes, reads } = this.#transmission.options.export;
      const { missing } = reads;
      const { offset } = long;
      const length = Math.min(long.bytesLeft, PIECE_BYTES - (offset % pageBytes));
      const outcome = this.#answerPiece(long.cookie, offset, length, 0);
      if (outcome === 'no room') return false;
      if (outcome === 'missing') this.#fetchChunk(long, offset, length, missing.slice());
      long.offset += length;
      long.bytesLeft -= length;
    }
    this.#long = undefined;
    if (long?.fetching === 0) long.settle();
    return true;
  }

  /** One chunk from the cache, unless pages are `missing` in it or there is no room for it. */
  #answerPiece(
    cookie: Cookie,
    offset: number,
    length: number,
    flags: number,
  ): 'answered' | 'missing' | 'no room' {
    const { export: target, promises, writer } = this.#transmission.options;
    const header = this.#headerBytes;
    const isWhole = flags !== 0 || !promises.isStructured;
    if (length >= LEND_BYTES_MIN && target.pages.lender !== undefined) {
      if (!writer.reserveLoan(header, length)) return 'no room';
      if (this.#lend(cookie, offset, length, flags)) {
        this.#isRetry = false;
        if (isWhole) this.#transmission.countHit();
        return 'answered';
      }
    }
    if (!writer.reserve(header + length)) return 'no room';
    const { batch, position } = writer;
    const missingCount = this.#isRetry
      ? target.reads.copyCached(offset, length, batch, position + header)
      : target.reads.readCached(offset, length, batch, position + header);
    this.#isRetry = false;
    if (missingCount > 0) {
      this.#isRetry = !writer.share.hasRoomFor(this.#roomFor(offset, length));
      return this.#isRetry ? 'no room' : 'missing';
    }
    if (target.reads.isZero && promises.isStructured) {
      writer.position = writeHoleChunk(batch, position, cookie, flags, offset, length);
    } else {
      this.#writeHeader(batch, position, cookie, flags, offset, length);
      writer.position = position + header + length;
    }
    if (isWhole) this.#transmission.countHit();
    return 'answered';
  }

  #writeHeader(
    to: Buffer,
    at: number,
    cookie: Cookie,
    flags: number,
    offset: number,
    length: number,
  ): number {
    return this.#transmission.options.promises.isStructured
      ? writeDataChunkHeader(to, at, cookie, flags, offset, length)
      : writeSimpleReply(to, at, cookie, 0);
  }

  /** Sends whole pages from where they lie, if every one of them can be lent. */
  #lend(cookie: Cookie, offset: number, length: number, flags: number): boolean {
    const { export: target, writer } = this.#transmission.options;
    const { cache, pages, pageBytes } = target;
    const { lender } = pages;
    if (lender === undefined || offset % pageBytes !== 0 || length % pageBytes !== 0) return false;
    const loans = this.#loans;
    loans.length = 0;
    const first = offset / pageBytes;
    const usedFrom = target.reads.usedFrom(offset);
    for (let page = first; page < first + length / pageBytes; page++) {
      const loan = pages.lend(page, page >= usedFrom);
      if (loan === NO_LOAN) {
        for (const each of loans) lender.returnLoan(each);
        return false;
      }
      loans.push(loan);
    }
    target.reads.countHit(offset, length);
    cache.countLent(loans.length);
    writer.position = this.#writeHeader(
      writer.batch,
      writer.position,
      cookie,
      flags,
      offset,
      length,
    );
    writer.adoptLoans(loans);
    for (let i = 0; i < loans.length; ) {
      const buffer = lender.loanBuffer(loans[i]!);
      const start = lender.loanOffset(loans[i]!);
      let end = start + pageBytes;
      // Neighbours on the image are often neighbours in memory: then one view does for all.
      for (i++; i < loans.length; i++, end += pageBytes) {
        const next = loans[i]!;
        if (lender.loanBuffer(next) !== buffer || lender.loanOffset(next) !== end) break;
      }
      writer.appendLent(buffer, start, end);
    }
    return true;
  }

  /** Fetches what a read of one piece misses, and answers it. */
  #fetchWhole(cookie: Cookie, offset: number, length: number, missing: number[]): void {
    const transmission = this.#transmission;
    const { isStructured } = transmission.options.promises;
    let piece: PooledBuffer | undefined;
    const work = async (held: PooledBuffer | undefined): Promise<void> => {
      piece = await this.#fetchPiece(held, offset, length, missing);
    };
    transmission.wait(Command.READ, work(this.#holdPiece(offset, length)), (errno) => {
      if (piece === undefined) transmission.appendShort(cookie, Command.READ, errno);
      else this.#sendPiece(cookie, offset, length, isStructured ? ChunkFlag.DONE : 0, piece);
    });
  }

  /** A buffer with what the cache held copied in, or undefined when none is free. */
  #holdPiece(offset: number, length: number): PooledBuffer | undefined {
    const { writer, export: target } = this.#transmission.options;
    const piece = writer.share.take(this.#roomFor(offset, length));
    if (piece === undefined) return undefined;
    const from = writer.position + this.#headerBytes;
    const to = piece.dataOffset + (offset % target.pageBytes);
    writer.batch.copy(piece.buffer, to, from, from + length);
    return piece;
  }

  /** The range in a buffer: `held` but for `missing`, or one to be waited for. */
  async #fetchPiece(
    held: PooledBuffer | undefined,
    offset: number,
    length: number,
    missing: readonly number[],
  ): Promise<PooledBuffer> {
    const { export: target } = this.#transmission.options;
    if (held !== undefined) return this.#fill(held, offset, missing);
    const piece = await this.#waitForPiece(offset, length);
    // By now the cache may hold more, or less.
    const at = piece.dataOffset + (offset % target.pageBytes);
    target.reads.copyCached(offset, length, piece.buffer, at);
    return this.#fill(piece, offset, target.reads.missing.slice());
  }

  async #fill(
    piece: PooledBuffer,
    offset: number,
    missing: readonly number[],
  ): Promise<PooledBuffer> {
    const { export: target, writer } = this.#transmission.options;
    try {
      await target.reads.fetch(offset, missing, piece);
    } catch (cause) {
      writer.share.release(piece);
      throw cause;
    }
    return piece;
  }

  async #waitForPiece(offset: number, length: number): Promise<PooledBuffer> {
    const { share } = this.#transmission.options.writer;
    const piece = await share.wait(this.#roomFor(offset, length));
    if (!this.#transmission.isClosed) return piece;
    share.release(piece);
    throw new TmemError('shutdown', 'The client hung up before its read was begun.');
  }

  #roomFor(offset: number, length: number): number {
    const { pageBytes } = this.#transmission.options.export;
    return Math.ceil(((offset % pageBytes) + length) / pageBytes) * pageBytes;
  }

  /** Sends data that lies in a pooled buffer, with its header right before it. */
  #sendPiece(
    cookie: Cookie,
    offset: number,
    length: number,
    flags: number,
    piece: PooledBuffer,
  ): void {
    const { writer, export: target } = this.#transmission.options;
    const header = this.#headerBytes;
    const start = piece.dataOffset + (offset % target.pageBytes);
    if (length <= COPY_BYTES_MAX && writer.reserve(header + length)) {
      this.#writeHeader(writer.batch, writer.position, cookie, flags, offset, length);
      piece.buffer.copy(writer.batch, writer.position + header, start, start + length);
      writer.position += header + length;
      writer.share.release(piece);
      return;
    }
    this.#writeHeader(piece.buffer, start - header, cookie, flags, offset, length);
    writer.appendPiece(piece, start - header, start + length);
  }

  #beginLong(request: Request): boolean {
    const transmission = this.#transmission;
    const cookie = request.cookie();
    const { offset, length } = request;
    if (!transmission.options.promises.isStructured) {
      // Replies that were fetched before and are held back must not have the buffers it needs.
      if (!transmission.options.writer.share.isUnused) return false;
      this.#answerLongSimple(cookie, offset, length);
      return true;
    }
    const long: LongRead = {
      cookie,
      offset,
      bytesLeft: length,
      fetching: 0,
      failure: undefined,
      settle: () => undefined,
    };
    const ended = new Promise<void>((resolve, reject) => {
      long.settle = () => (long.failure === undefined ? resolve() : reject(long.failure));
    });
    transmission.wait(Command.READ, ended, (errno) => this.#endLong(cookie, errno));
    this.#long = long;
    return true;
  }

  /** The last chunk of a long read: an error if any part failed, else one without content. */
  #endLong(cookie: Cookie, errno: number): void {
    const { writer } = this.#transmission.options;
    const last = Buffer.alloc(SHORT_REPLY_BYTES_MAX);
    const end =
      errno === 0
        ? writeChunkHeader(last, 0, cookie, ChunkFlag.DONE, Chunk.NONE, 0)
        : writeErrorChunk(last, 0, cookie, ChunkFlag.DONE, errno);
    writer.appendOwned(last.subarray(0, end));
  }

  /** Fetches what one chunk of a long read misses, and sends it. */
  #fetchChunk(long: LongRead, offset: number, length: number, missing: number[]): void {
    const transmission = this.#transmission;
    const ended = (): void => {
      long.fetching--;
      if (long.bytesLeft > 0) transmission.options.host.wake();
      else if (long.fetching === 0) long.settle();
    };
    long.fetching++;
    this.#fetchPiece(this.#holdPiece(offset, length), offset, length, missing).then(
      (piece) => {
        transmission.send(() => this.#sendPiece(long.cookie, offset, length, 0, piece));
        ended();
      },
      (cause: unknown) => {
        long.failure ??= cause;
        ended();
      },
    );
  }

  /**
   * A long read for a client without structured replies: one header, then everything in order, and
   * nothing else on the wire between. A failure behind the header can only be told by hanging up.
   */
  #answerLongSimple(cookie: Cookie, offset: number, length: number): void {
    const transmission = this.#transmission;
    const { writer, export: target } = transmission.options;
    transmission.isExclusive = true;
    let hasHeader = false;
    const sendNext = async (at: number, bytes: number): Promise<void> => {
      const piece = await this.#waitForPiece(at, bytes);
      const start = piece.dataOffset + (at % target.pageBytes);
      target.reads.readCached(at, bytes, piece.buffer, start);
      await this.#fill(piece, at, target.reads.missing.slice());
      if (!hasHeader) writeSimpleReply(piece.buffer, start - WireBytes.SIMPLE_REPLY, cookie, 0);
      writer.appendPiece(piece, hasHeader ? start : start - WireBytes.SIMPLE_REPLY, start + bytes);
      hasHeader = true;
      writer.flush();
    };
    const work = async (): Promise<void> => {
      try {
        for (let at = offset; at < offset + length; ) {
          const bytes = Math.min(offset + length - at, PIECE_BYTES - (at % target.pageBytes));
          await sendNext(at, bytes);
          at += bytes;
        }
      } catch (cause) {
        if (hasHeader) transmission.fail('a read failed behind its header');
        throw cause;
      } finally {
        transmission.endExclusive();
      }
    };
    transmission.wait(Command.READ, work(), (errno) => {
      if (errno !== 0) transmission.appendShort(cookie, Command.READ, errno);
    });
  }
}
