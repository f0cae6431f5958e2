/**
 * The pages of one image that were changed since the service started: what a snapshot has of them is
 * old. Bounded in memory: one bit per page in blocks, made when the first page of a run of 16,384 is
 * changed; when there are too many blocks, such a run counts as changed whole.
 */

import { PAGES_PER_OBJECT } from '../tmem/cleancache.ts';

const WORDS_PER_BLOCK = PAGES_PER_OBJECT / 32;
/** Of 2 KiB each. */
const BLOCK_COUNT_MAX = 512;

export class ChangedPages {
  readonly #pageCount: number;
  /** By run: 1 when all of it counts as changed. */
  readonly #wholeRuns: Uint8Array;
  readonly #blocks = new Map<number, Uint32Array>();
  readonly #blockCountMax: number;

  constructor(pageCount: number, blockCountMax = BLOCK_COUNT_MAX) {
    this.#pageCount = pageCount;
    this.#wholeRuns = new Uint8Array(Math.ceil(pageCount / PAGES_PER_OBJECT));
    this.#blockCountMax = blockCountMax;
  }

  /** Notes that the pages `[first, first + count)` change; what lies outside the image is ignored. */
  note(first: number, count: number): void {
    const end = Math.min(first + count, this.#pageCount);
    for (let page = Math.max(0, first); page < end; ) {
      const run = Math.floor(page / PAGES_PER_OBJECT);
      const runEnd = Math.min((run + 1) * PAGES_PER_OBJECT, this.#pageCount);
      const stop = Math.min(end, runEnd);
      if (stop === runEnd && page === run * PAGES_PER_OBJECT) this.#noteWhole(run);
      else this.#notePart(run, page, stop);
      page = stop;
    }
  }

  /** Whether the page may have been changed. */
  has(page: number): boolean {
    const run = Math.floor(page / PAGES_PER_OBJECT);
    if (this.#wholeRuns[run] === 1) return true;
    const bit = page % PAGES_PER_OBJECT;
    const word = this.#blocks.get(run)?.[bit >>> 5] ?? 0;
    return ((word >>> (bit & 31)) & 1) === 1;
  }

  #noteWhole(run: number): void {
    this.#wholeRuns[run] = 1;
    this.#blocks.delete(run);
  }

  #notePart(run: number, first: number, end: number): void {
    if (this.#wholeRuns[run] === 1) return;
    let block = this.#blocks.get(run);
    if (block === undefined) {
      if (this.#blocks.size >= this.#blockCountMax) {
        this.#noteWhole(run);
        return;
      }
      block = new Uint32Array(WORDS_PER_BLOCK);
      this.#blocks.set(run, block);
    }
    for (let page = first; page < end; page++) {
      const bit = page % PAGES_PER_OBJECT;
      block[bit >>> 5]! |= 1 << (bit & 31);
    }
  }
}
