/**
 * Which image of a chain holds each page of a disk, as far as that has been found out: a byte a
 * page, in pieces that are made where pages are looked at. When there are too many pieces all is
 * forgotten and found out again.
 */

/** Pages of one piece. */
const PIECE_PAGES = 16_384;
/** Nobody has found out yet. */
const UNKNOWN = 0;

/** The image on top, 0; its backing image, 1; and so on. */
export class PageOwners {
  /** Counts up whenever all is forgotten. */
  epoch = 0;
  readonly #pieces: (Uint8Array | undefined)[] = [];
  readonly #pieceCountMax: number;
  #pieceCount = 0;

  /** At most about `bytesMax` bytes, one piece at least. */
  constructor(bytesMax: number) {
    this.#pieceCountMax = Math.max(1, Math.floor(bytesMax / PIECE_PAGES));
  }

  /** Bytes that a disk of so many pages takes, at most `bytesMax`. */
  static bytesFor(pageCount: number, bytesMax: number): number {
    const whole = Math.ceil(pageCount / PIECE_PAGES) * PIECE_PAGES;
    return Math.min(whole, Math.max(PIECE_PAGES, bytesMax));
  }

  /** The depth of the image that holds the page; -1 while that is unknown. */
  depthOf(page: number): number {
    const piece = this.#pieces[Math.floor(page / PIECE_PAGES)];
    return piece === undefined ? -1 : piece[page % PIECE_PAGES]! - 1;
  }

  /** The top image has the pages from now on, or will have them soon. */
  setTop(first: number, count: number): void {
    const end = first + count;
    for (let page = first; page < end; ) {
      const index = Math.floor(page / PIECE_PAGES);
      const stop = Math.min(end, (index + 1) * PIECE_PAGES);
      const from = page % PIECE_PAGES;
      this.#piece(index).fill(1, from, from + stop - page);
      page = stop;
    }
  }

  /** It was found out, in that epoch, who holds the page: noted unless something newer is known. */
  note(page: number, depth: number, epoch: number): void {
    if (epoch !== this.epoch) return;
    const piece = this.#piece(Math.floor(page / PIECE_PAGES));
    // Making room for the piece may have forgotten what was written to the page meanwhile.
    if (epoch !== this.epoch) return;
    const at = page % PIECE_PAGES;
    if (piece[at] === UNKNOWN) piece[at] = depth + 1;
  }

  #piece(index: number): Uint8Array {
    const known = this.#pieces[index];
    if (known !== undefined) return known;
    if (this.#pieceCount >= this.#pieceCountMax) {
      this.#pieces.length = 0;
      this.#pieceCount = 0;
      this.epoch++;
    }
    this.#pieceCount++;
    const piece = new Uint8Array(PIECE_PAGES);
    this.#pieces[index] = piece;
    return piece;
  }
}
