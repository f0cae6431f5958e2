/**
 * Which image of a chain holds each page of a disk, as far as that has been found out: a byte a
 * page, in pieces that are made where pages are looked at. When there are too many pieces the oldest
 * is forgotten, and what was in it is found out again.
 */

/** Pages of one piece. */
const PIECE_PAGES = 16_384;
/** Nobody has found out yet. */
const UNKNOWN = 0;

/** The image on top, 0; its backing image, 1; and so on. */
export class PageOwners {
  readonly #piecePages: number;
  readonly #pieces: (Uint8Array | undefined)[] = [];
  readonly #pieceCountMax: number;
  /** Those that there are, oldest first. */
  readonly #order: number[] = [];

  /** At most about `bytesMax` bytes, one piece at least. */
  constructor(bytesMax: number, piecePages = PIECE_PAGES) {
    this.#piecePages = piecePages;
    this.#pieceCountMax = Math.max(1, Math.floor(bytesMax / piecePages));
  }

  /** Bytes that a disk of so many pages takes, at most `bytesMax`. */
  static bytesFor(pageCount: number, bytesMax: number): number {
    const whole = Math.ceil(pageCount / PIECE_PAGES) * PIECE_PAGES;
    return Math.min(whole, Math.max(PIECE_PAGES, bytesMax));
  }

  /** The depth of the image that holds the page; -1 while that is unknown. */
  depthOf(page: number): number {
    const piece = this.#pieces[Math.floor(page / this.#piecePages)];
    return piece === undefined ? -1 : piece[page % this.#piecePages]! - 1;
  }

  /** The top image has the pages from now on, or will have them soon. */
  setTop(first: number, count: number): void {
    const end = first + count;
    // A long range makes no pieces: what is unknown of it is found out again where it is read.
    const isShort = count <= this.#piecePages;
    for (let page = first; page < end; ) {
      const index = Math.floor(page / this.#piecePages);
      const stop = Math.min(end, (index + 1) * this.#piecePages);
      const from = page % this.#piecePages;
      const piece = isShort ? this.#piece(index) : this.#pieces[index];
      piece?.fill(1, from, from + stop - page);
      page = stop;
    }
  }

  /**
   * To be called before it is found out who holds the page, and those up to the `end` of the result:
   * what is noted there is not believed when the pages were forgotten or written meanwhile.
   */
  notesOf(page: number): OwnerNotes {
    const index = Math.floor(page / this.#piecePages);
    const piece = this.#piece(index);
    const first = index * this.#piecePages;
    return new OwnerNotes(piece, first);
  }

  #piece(index: number): Uint8Array {
    const known = this.#pieces[index];
    if (known !== undefined) return known;
    if (this.#order.length >= this.#pieceCountMax) {
      const oldest = this.#order.shift();
      if (oldest !== undefined) delete this.#pieces[oldest];
    }
    this.#order.push(index);
    const piece = new Uint8Array(this.#piecePages);
    this.#pieces[index] = piece;
    return piece;
  }
}

/** A piece of the table as it was when somebody began to find out; it may be forgotten by now. */
export class OwnerNotes {
  /** Behind its last page. */
  readonly end: number;
  readonly #piece: Uint8Array;
  readonly #first: number;

  constructor(piece: Uint8Array, first: number) {
    this.#piece = piece;
    this.#first = first;
    this.end = first + piece.length;
  }

  /** Notes who holds the page, unless something newer is known. */
  note(page: number, depth: number): void {
    const at = page - this.#first;
    if (this.#piece[at] === UNKNOWN) this.#piece[at] = depth + 1;
  }
}
