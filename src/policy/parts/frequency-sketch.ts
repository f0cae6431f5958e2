/**
 * How often keys were used lately, approximately, in eight bytes a page: the count-min sketch of
 * 4-bit counters of Einziger, Friedman and Manes, "TinyLFU: a highly efficient cache admission
 * policy" (TOS 2017), section 3.4, with the ageing of section 3.3: after ten uses for each page
 * all counters are halved.
 */
import type { GhostMemory } from './ghost.ts';

const ROWS = 4;
const COUNTER_MAX = 15;
const COUNTERS_PER_WORD = 8;
/** Counters for each page, over all rows. */
const COUNTERS_PER_PAGE = 16;
const PAGES_MIN = 64;
/** A sketch for so many times the pages that there are is begun anew: ageing goes through all of it. */
const SPARSE_PART = 16;
const USES_PER_PAGE = 10;
const HALVED = 0x7777_7777;
const ONES = 0x1111_1111;
const SEEDS = [0x9e3779b1, 0x85ebca77, 0xc2b2ae3d, 0x27d4eb2f] as const;

export class FrequencySketch {
  /** Counters, eight in a word; a row is a quarter of them. */
  private words = new Int32Array(0);
  private rowMask = 0;
  /** Pages that the counters are for: a power of two. */
  private pages = 0;
  private uses = 0;
  private usesMax = 0;
  private readonly memory: GhostMemory;
  /** Where doublings take place: memory that is not touched is not taken. */
  private readonly reserve: Int32Array<ArrayBuffer> | undefined;

  /**
   * With `pagesMax`, address space for that many pages is taken at once and nothing is copied
   * elsewhere, where what was copied would be there until the garbage is collected.
   */
  constructor(memory: GhostMemory, pagesMax?: number) {
    this.memory = memory;
    if (pagesMax !== undefined) this.reserve = new Int32Array(wordsFor(roomFor(pagesMax)));
  }

  /**
   * Fits to that many pages. What was counted stays where there are more: a key finds its counters
   * doubled. It is forgotten where there are far fewer.
   */
  ensure(pages: number): void {
    if (this.pages > PAGES_MIN && this.pages > pages * SPARSE_PART) this.release();
    while (this.pages < pages) this.double();
    this.usesMax = USES_PER_PAGE * pages;
  }

  /** A page of that hash was used. */
  add(hash: number): void {
    if (this.pages === 0) return;
    let isAdded = false;
    for (let row = 0; row < ROWS; row++) {
      const counter = this.counterOf(hash, row);
      const shift = (counter % COUNTERS_PER_WORD) * 4;
      const word = this.words[counter >>> 3]!;
      if (((word >>> shift) & COUNTER_MAX) === COUNTER_MAX) continue;
      this.words[counter >>> 3] = word + (1 << shift);
      isAdded = true;
    }
    if (isAdded && ++this.uses >= this.usesMax) this.age();
  }

  /** Uses of a page of that hash: at least as many as there were lately, up to 15. */
  estimate(hash: number): number {
    if (this.pages === 0) return 0;
    let least = COUNTER_MAX;
    for (let row = 0; row < ROWS; row++) {
      const counter = this.counterOf(hash, row);
      const shift = (counter % COUNTERS_PER_WORD) * 4;
      const uses = (this.words[counter >>> 3]! >>> shift) & COUNTER_MAX;
      if (uses < least) least = uses;
    }
    return least;
  }

  /** Forgets all, and gives the memory back. */
  release(): void {
    if (this.reserve !== undefined) this.words.fill(0);
    this.take(0);
    this.uses = 0;
  }

  private double(): void {
    const before = this.words;
    const rowWords = before.length / ROWS;
    this.take(Math.max(PAGES_MIN, this.pages * 2));
    if (rowWords === 0) return;
    // From the last on, since it may be the same memory: each row goes behind where it was.
    for (let row = ROWS - 1; row >= 0; row--) {
      const counters = before.subarray(row * rowWords, (row + 1) * rowWords);
      this.words.set(counters, (2 * row + 1) * rowWords);
      this.words.set(counters, 2 * row * rowWords);
    }
  }

  private take(pages: number): void {
    const length = wordsFor(pages);
    const hasRoom = this.reserve !== undefined && length <= this.reserve.length;
    const words = hasRoom ? this.reserve.subarray(0, length) : new Int32Array(length);
    this.memory.bytes += (words.length - this.words.length) * 4;
    this.words = words;
    this.pages = pages;
    this.rowMask = (pages * COUNTERS_PER_PAGE) / ROWS - 1;
  }

  private age(): void {
    const { words } = this;
    let odd = 0;
    for (let i = 0; i < words.length; i++) {
      const word = words[i]!;
      if (word === 0) continue;
      odd += onesOf(word & ONES);
      words[i] = (word >>> 1) & HALVED;
    }
    // Counters that were doubled are odd twice, for what was one use.
    this.uses = Math.max(0, this.uses - (odd >>> 2)) >>> 1;
  }

  /** Index of the counter of a hash in a row. */
  private counterOf(hash: number, row: number): number {
    let h = Math.imul(hash ^ (hash >>> 16), SEEDS[row]!);
    h = Math.imul(h ^ (h >>> 15), 0x846ca68b);
    return row * (this.rowMask + 1) + ((h ^ (h >>> 16)) & this.rowMask);
  }
}

/** The power of two that `pages` are rounded up to. */
function roomFor(pages: number): number {
  let room = PAGES_MIN;
  while (room < pages) room *= 2;
  return room;
}

function wordsFor(pages: number): number {
  return (pages * COUNTERS_PER_PAGE) / COUNTERS_PER_WORD;
}

/** Set bits of a word in which only the lowest of every four may be set. */
function onesOf(word: number): number {
  const pairs = word + (word >>> 4);
  return Math.imul(pairs & 0x0f0f_0f0f, 0x0101_0101) >>> 24;
}
