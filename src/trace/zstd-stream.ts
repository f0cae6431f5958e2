/** Decodes Zstandard data (RFC 8878) piece by piece, frame after frame. */

import { Decompress } from 'fzstd';
import { messageOf, TmemError } from '../lib/errors.ts';

/** Pieces given to the decoder at once, bytes: bounds what a piece can become, at 128 KiB a block. */
const PIECE_BYTES = 1024;

/** Messages of the library by what its users call them. */
function sentenceOf(name: string, cause: unknown): string {
  const reason = messageOf(cause);
  if (/EOF/.test(reason)) return `${name} ends in the middle of its zstd data; get the whole file`;
  if (/window/.test(reason)) {
    return `${name} needs a larger window than is supported; decompress it first (zstd -d --long=31)`;
  }
  return `${name} is damaged: ${reason}; test it with zstd -t`;
}

/** A decoder of one stream; checksums of contents are not checked. */
export class ZstdStream {
  readonly #decoder: Decompress;
  readonly #name: string;
  #blocks: Uint8Array[] = [];

  /** `name` is what errors call the data. */
  constructor(name: string) {
    this.#name = name;
    this.#decoder = new Decompress((block) => {
      // The decoder goes on using its memory as the window of later blocks.
      if (block.length > 0) this.#blocks.push(block.slice());
    });
  }

  /**
   * Takes up to 1 KiB from the start of `data` and answers how much it took. What came of it waits
   * in `take`. Throws a `TmemError` for what is no zstd data.
   */
  write(data: Uint8Array): number {
    // A copy, which a Buffer's slice is not: the decoder keeps what it cannot decode yet.
    const piece = new Uint8Array(data.subarray(0, PIECE_BYTES));
    this.#push(piece, false);
    return piece.length;
  }

  /** Says that there is no more; throws a `TmemError` if a frame is incomplete. */
  end(): void {
    this.#push(new Uint8Array(0), true);
  }

  /** The blocks decoded since the last call; they belong to the caller. */
  take(): Uint8Array[] {
    const blocks = this.#blocks;
    this.#blocks = [];
    return blocks;
  }

  #push(piece: Uint8Array, isFinal: boolean): void {
    try {
      this.#decoder.push(piece, isFinal);
    } catch (cause) {
      throw new TmemError('invalid', sentenceOf(this.#name, cause), { cause });
    }
  }
}
