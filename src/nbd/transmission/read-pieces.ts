/**
 * A piece of a READ: a whole short one, or a chunk of a long one. What the cache holds goes into the
 * batch of the writer, or is sent from where it lies; what it does not hold is fetched into a buffer
 * of the pool and sent from there.
 */

import type { PooledBuffer } from '../../lib/buffer-pool.ts';
import { TmemError } from '../../lib/errors.ts';
import { NO_LOAN } from '../../tmem/lender.ts';
import { WireBytes } from '../protocol.ts';
import {
  type Cookie,
  DATA_CHUNK_HEADER_BYTES,
  writeDataChunkHeader,
  writeHoleChunk,
  writeSimpleReply,
} from './replies.ts';
import type { Transmission } from './transmission.ts';

/** From this length on, pages are sent from where they lie if they can be lent; below, copied. */
const LEND_BYTES_MIN = 32 * 1024;
/** Fetched data up to this length is copied into the batch, so that its buffer is free at once. */
const COPY_BYTES_MAX = 16 * 1024;
/** The place of no piece. */
const NO_OFFSET = -1;

export class ReadPieces {
  readonly #transmission: Transmission;
  /** What precedes the data of a reply, in the style that was agreed on. */
  readonly #headerBytes: number;
  readonly #loans: number[] = [];
  /** Where a piece begins that was looked up and counted before, when there was no room. */
  #retryOffset = NO_OFFSET;

  constructor(transmission: Transmission) {
    this.#transmission = transmission;
    const { isStructured } = transmission.options.promises;
    this.#headerBytes = isStructured ? DATA_CHUNK_HEADER_BYTES : WireBytes.SIMPLE_REPLY;
  }

  /**
   * Answers from the cache, unless pages are `missing` in it (the reads of the export list them) or
   * there is no room. `flags` are those of the chunk, where replies are structured.
   */
  answer(
    cookie: Cookie,
    offset: number,
    length: number,
    flags: number,
  ): 'answered' | 'missing' | 'no room' {
    const { export: target, promises, writer } = this.#transmission.options;
    const header = this.#headerBytes;
    const isWhole = flags !== 0 || !promises.isStructured;
    if (!writer.hasTurnFor(length)) return 'no room';
    // A loan counts as a read that begins: one that was counted before is copied.
    const mayLend = length >= LEND_BYTES_MIN && this.#retryOffset !== offset;
    if (mayLend && target.pages.lender !== undefined) {
      if (!writer.reserveLoan(header, length)) return 'no room';
      if (this.#lend(cookie, offset, length, flags)) {
        if (isWhole) this.#transmission.countHit();
        return 'answered';
      }
    }
    if (!writer.reserve(header + length)) return 'no room';
    const { batch, position } = writer;
    const missingCount =
      this.#retryOffset === offset
        ? target.reads.copyCached(offset, length, batch, position + header)
        : target.reads.readCached(offset, length, batch, position + header);
    this.#retryOffset = NO_OFFSET;
    if (missingCount > 0) {
      if (writer.share.hasRoomFor(this.#roomFor(offset, length))) return 'missing';
      this.#retryOffset = offset;
      return 'no room';
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

  /**
   * A buffer with what the cache held copied in, right after `answer` found pages missing; undefined
   * when none is free.
   */
  hold(offset: number, length: number): PooledBuffer | undefined {
    const { writer, export: target } = this.#transmission.options;
    const piece = writer.share.take(this.#roomFor(offset, length));
    if (piece === undefined) return undefined;
    const from = writer.position + this.#headerBytes;
    const to = piece.dataOffset + (offset % target.pageBytes);
    writer.batch.copy(piece.buffer, to, from, from + length);
    return piece;
  }

  /**
   * The range in a buffer, which is the caller's: `held` but for `missing`, or one to be waited for.
   * Rejects with a TmemError when the image fails or the client has gone.
   */
  async fetch(
    held: PooledBuffer | undefined,
    offset: number,
    length: number,
    missing: readonly number[],
  ): Promise<PooledBuffer> {
    const { export: target } = this.#transmission.options;
    if (held !== undefined) return this.fill(held, offset, missing);
    const piece = await this.waitForBuffer(offset, length);
    // By now the cache may hold more, or less.
    const at = piece.dataOffset + (offset % target.pageBytes);
    target.reads.copyCached(offset, length, piece.buffer, at);
    return this.fill(piece, offset, target.reads.missing.slice());
  }

  /** Fetches the `missing` pages of a read into `piece`, which is given back when that fails. */
  async fill(
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

  /** A buffer for the range, which is the caller's. Rejects with a TmemError when the client has gone. */
  async waitForBuffer(offset: number, length: number): Promise<PooledBuffer> {
    const { share } = this.#transmission.options.writer;
    const piece = await share.wait(this.#roomFor(offset, length));
    if (!this.#transmission.isClosed) return piece;
    share.release(piece);
    throw hungUp();
  }

  /** Sends a range that lies in a pooled buffer, its header right before it; gives the buffer back. */
  send(cookie: Cookie, offset: number, length: number, flags: number, piece: PooledBuffer): void {
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

  #roomFor(offset: number, length: number): number {
    const { pageBytes } = this.#transmission.options.export;
    return Math.ceil(((offset % pageBytes) + length) / pageBytes) * pageBytes;
  }
}

/** Why a read ends whose client has gone; nobody hears of it but the counters. */
export function hungUp(): TmemError {
  return new TmemError('shutdown', 'the client hung up before its read was done');
}
