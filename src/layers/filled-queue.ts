/**
 * The order in which ephemeral same-filled pages arrived, to bound how many there are. A page that
 * is flushed or replaced leaves its entry behind; what tells the two apart is a tag, the entry's
 * number, which the layer keeps with the page.
 */

import { NO_SLOT } from '../tmem/page-index.ts';

/** Bits of a tag. An entry 2^20 arrivals old may pass for a current one: its page goes early. */
export const TAG_MASK = 0xfffff;

/** Entries looked at for one that is out of date, before the oldest page goes instead. */
const LOOKS_MAX = 16;

/** Where the layer keeps the tags. */
export interface TagStore {
  /** The tag of the ephemeral same-filled page in `slot`; -1 when no such page is there. */
  tagOf(slot: number): number;
  setTag(slot: number, tag: number): void;
}

export class FilledQueue {
  /** Pages queued now. */
  count = 0;
  /** A ring; entry n lies at n modulo its length. */
  readonly #slots: Int32Array;
  readonly #tags: TagStore;
  #firstEntry = 0;
  #endEntry = 0;

  /** Holds at most `countMax` pages. */
  constructor(countMax: number, tags: TagStore) {
    this.#slots = new Int32Array(countMax);
    this.#tags = tags;
  }

  /** Bytes of the ring in use. */
  get metadataBytes(): number {
    return Math.min(this.#endEntry, this.#slots.length) * 4;
  }

  /** Queues a page; answers the slot of one that must leave for it, or NO_SLOT. */
  push(slot: number): number {
    const countMax = this.#slots.length;
    let victim = NO_SLOT;
    for (let looked = 0; this.#endEntry - this.#firstEntry === countMax; looked++) {
      const entry = this.#firstEntry++;
      const oldest = this.#slots[entry % countMax]!;
      if (oldest === slot || this.#tags.tagOf(oldest) !== (entry & TAG_MASK)) break;
      if (this.count === countMax || looked === LOOKS_MAX) {
        victim = oldest;
        break;
      }
      this.#append(oldest); // it stays; an entry out of date must be further on
    }
    this.#append(slot);
    this.count++;
    return victim;
  }

  /** A queued page is gone; its entry is out of date from now on. */
  left(): void {
    this.count--;
  }

  #append(slot: number): void {
    const entry = this.#endEntry++;
    this.#slots[entry % this.#slots.length] = slot;
    this.#tags.setTag(slot, entry & TAG_MASK);
  }
}
