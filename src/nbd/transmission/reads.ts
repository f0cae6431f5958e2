/**
 * READ: what the cache holds is answered in the same turn of the event loop, the rest when it has been
 * fetched. A read longer than a piece is another matter; see `LongReads`.
 *
 * Source: NBD specification, "NBD_CMD_READ" and "Structured reply types".
 */

import { PIECE_BYTES, type PooledBuffer } from '../../lib/buffer-pool.ts';
import { Chunk, ChunkFlag, Command, WireBytes } from '../protocol.ts';
import { LongReads } from './long-reads.ts';
import { ReadPieces } from './read-pieces.ts';
import { type Cookie, writeChunkHeader } from './replies.ts';
import type { Request } from './request.ts';
import type { Transmission } from './transmission.ts';

export class Reads {
  /** The read under way that has chunks yet to come, if there is one. */
  readonly long: LongReads;
  readonly #transmission: Transmission;
  readonly #pieces: ReadPieces;

  constructor(transmission: Transmission) {
    this.#transmission = transmission;
    this.#pieces = new ReadPieces(transmission);
    this.long = new LongReads(transmission, this.#pieces);
  }

  /** Answers a READ or begins to; no when there is no room. */
  begin(request: Request): boolean {
    const { promises } = this.#transmission.options;
    if (request.length > PIECE_BYTES) return this.long.begin(request);
    const flags = promises.isStructured ? ChunkFlag.DONE : 0;
    const { offset, length } = request;
    if (length === 0 && promises.isStructured) return this.#answerNothing(request);
    const outcome = this.#pieces.answer(request, offset, length, flags);
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

  /** Fetches what a read of one piece misses, and answers it. */
  #fetchWhole(cookie: Cookie, offset: number, length: number, missing: number[]): void {
    const transmission = this.#transmission;
    const { isStructured } = transmission.options.promises;
    let piece: PooledBuffer | undefined;
    const work = async (held: PooledBuffer | undefined): Promise<void> => {
      piece = await this.#pieces.fetch(held, offset, length, missing);
    };
    transmission.wait(Command.READ, work(this.#pieces.hold(offset, length)), (errno) => {
      if (piece === undefined) transmission.appendShort(cookie, Command.READ, errno);
      else this.#pieces.send(cookie, offset, length, isStructured ? ChunkFlag.DONE : 0, piece);
    });
  }
}
