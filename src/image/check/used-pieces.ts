/** Which pieces of a file something refers to, one bit for each. */

import { TmemError } from '../../lib/errors.ts';
import type { Storage } from '../../storage/storage.ts';

/** 256 MiB of bits, of which the system maps what is touched: 8 TiB of 4 KiB clusters. */
const PIECES_MAX = 2 ** 31;
export const PIECES_PER_WORD = 32;

export class UsedPieces {
  readonly #words: Uint32Array;
  readonly #pieceBytes: number;
  readonly count: number;
  usedCount = 0;

  /** Throws for a file with more pieces than are kept track of. */
  constructor(storage: Storage, pieceBytes: number, count: number) {
    if (count > PIECES_MAX) {
      throw new TmemError(
        'unsupported',
        `cannot check "${storage.name}": its ${storage.sizeBytes} bytes are more than ` +
          `${PIECES_MAX} pieces of ${pieceBytes}; convert it to larger clusters`,
        { context: { image: storage.name, sizeBytes: storage.sizeBytes } },
      );
    }
    this.#pieceBytes = pieceBytes;
    this.count = count;
    this.#words = new Uint32Array(Math.ceil(count / PIECES_PER_WORD));
  }

  /** Marks the pieces that the range touches, inside the file; false when one was marked before. */
  mark(offset: number, length: number): boolean {
    const end = Math.min(this.count, Math.ceil((offset + length) / this.#pieceBytes));
    let isFirst = true;
    for (let piece = Math.floor(offset / this.#pieceBytes); piece < end; piece++) {
      if (this.has(piece)) {
        isFirst = false;
        continue;
      }
      this.#words[piece >>> 5]! |= 1 << (piece & 31);
      this.usedCount++;
    }
    return isFirst;
  }

  has(piece: number): boolean {
    return ((this.#words[piece >>> 5] ?? 0) & (1 << (piece & 31))) !== 0;
  }

  /** Whether none is marked of the pieces that are in one word with this one. */
  hasEmptyWord(piece: number): boolean {
    return this.#words[piece >>> 5] === 0;
  }

  /** The first piece behind all that are marked. */
  get endOfUsed(): number {
    let at = this.#words.length - 1;
    while (at >= 0 && this.#words[at] === 0) at--;
    let piece = Math.min(this.count, (at + 1) * PIECES_PER_WORD);
    while (piece > 0 && !this.has(piece - 1)) piece--;
    return piece;
  }
}
