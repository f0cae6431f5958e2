/**
 * A READ longer than a piece: it is produced in chunks as the socket takes them. A client without
 * structured replies gets one header and everything in order behind it.
 *
 * Source: NBD specification, "NBD_CMD_READ" and "Structured reply types".
 */

import { PIECE_BYTES } from '../../lib/buffer-pool.ts';
import { turnOfTheLoop } from '../../lib/turn-of-the-loop.ts';
import { Chunk, ChunkFlag, Command, WireBytes } from '../protocol.ts';
import { hungUp, type ReadPieces } from './read-pieces.ts';
import {
  type Cookie,
  SHORT_REPLY_BYTES_MAX,
  writeChunkHeader,
  writeErrorChunk,
  writeSimpleReply,
} from './replies.ts';
import type { Request } from './request.ts';
import type { Transmission } from './transmission.ts';

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

export class LongReads {
  readonly #transmission: Transmission;
  readonly #pieces: ReadPieces;
  #long: LongRead | undefined;

  constructor(transmission: Transmission, pieces: ReadPieces) {
    this.#transmission = transmission;
    this.#pieces = pieces;
  }

  /** Whether a long read still has chunks to produce; no request is taken before it has not. */
  get isBusy(): boolean {
    return this.#long !== undefined;
  }

  /** Begins to answer a long READ; no when there is no room. */
  begin(request: Request): boolean {
    const transmission = this.#transmission;
    const cookie = request.cookie();
    const { offset, length } = request;
    if (!transmission.options.promises.isStructured) {
      // Replies that were fetched before and are held back must not have the buffers it needs.
      if (!transmission.options.writer.share.isUnused) return false;
      this.#answerSimple(cookie, offset, length);
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
    transmission.wait(Command.READ, ended, (errno) => this.#end(cookie, errno));
    this.#long = long;
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
      const outcome = this.#pieces.answer(long.cookie, offset, length, 0);
      if (outcome === 'no room') return false;
      if (outcome === 'missing') this.#fetchChunk(long, offset, length, missing.slice());
      long.offset += length;
      long.bytesLeft -= length;
    }
    this.#long = undefined;
    if (long?.fetching === 0) long.settle();
    return true;
  }

  /** The connection is gone: a read that has chunks yet to come ends with what is under way of it. */
  close(): void {
    if (this.#long !== undefined) this.#long.failure ??= hungUp();
    this.goOn();
  }

  /** The last chunk of a long read: an error if any part failed, else one without content. */
  #end(cookie: Cookie, errno: number): void {
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
    this.#pieces.fetch(this.#pieces.hold(offset, length), offset, length, missing).then(
      (piece) => {
        transmission.send(() => this.#pieces.send(long.cookie, offset, length, 0, piece));
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
  #answerSimple(cookie: Cookie, offset: number, length: number): void {
    const transmission = this.#transmission;
    const { writer, export: target } = transmission.options;
    transmission.isExclusive = true;
    let hasHeader = false;
    const sendNext = async (at: number, bytes: number): Promise<void> => {
      const piece = await this.#pieces.waitForBuffer(at, bytes);
      const start = piece.dataOffset + (at % target.pageBytes);
      target.reads.readCached(at, bytes, piece.buffer, start);
      await this.#pieces.fill(piece, at, target.reads.missing.slice());
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
          if (at < offset + length) await turnOfTheLoop(); // others come between
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
