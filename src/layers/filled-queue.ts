/**
 * The order in which ephemeral same-filled pages arrived, to bound how many there are. A page that
 * is flushed or replaced leaves its entry behind; what tells the two apart is a tag, the entry's
 * number, which the layer keeps with the page. Entries out of date are swept, a few at each arrival,
 * when they are the greater part: the pages met on the way go to the end, as if they had just come.
 */

import { NO_SLOT } from '../tmem/page-index.ts';

/** Bits of a tag. An entry 2^20 arrivals old may pass for a current one: its page goes early. */
export const TAG_MASK = 0xfffff;

const FIRST_ENTRY_COUNT = 64;
/** More than twice what an arrival can put out of date, so that sweeping gains on it. */
const SWEPT_PER_ARRIVAL = 4;

/** Where the layer keeps the tags. */
export interface TagStore {
  /** The tag of the ephemeral same-filled page in `slot`; -1 when no such page is there. */
  tagOf(slot: number): number;
  setTag(slot: number, tag: number): void;
}

export class FilledQueue {
  /** Pages queued now. */
  count = 0;
  readonly #countMax: number;
  readonly #tags: TagStore;
  /** A ring; entry n lies at n modulo its length, a power of two. */
  #slots = new Int32Array(FIRST_ENTRY_COUNT);
  #firstEntry = 0;
  #endEntry = 0;

  /** Holds at most `countMax` pages. */
  constructor(countMax: number, tags: TagStore) {
    this.#countMax = countMax;
    this.#tags = tags;
  }

  get metadataBytes(): number {
    return this.#slots.byteLength;
  }

  /** Bytes by which one more page can make it grow. */
  get growthBytes(): number {
    const isRingFull = this.#endEntry - this.#firstEntry === this.#slots.length;
    return isRingFull && this.count < this.#countMax ? this.#slots.byteLength : 0;
  }

  /** Queues a page; answers the slot of one that must leave for it, or NO_SLOT. */
  push(slot: number): number {
    this.#sweep();
    let isFull = this.count >= this.#countMax;
    if (this.#endEntry - this.#firstEntry === this.#slots.length) isFull ||= !this.#grow();
    const victim = isFull ? this.takeOldest() : NO_SLOT;
    this.append(slot);
    this.count++;
    return victim;
  }

  /** A queued page is gone; its entry is out of date from now on. */
  left(): void {
    this.count--;
  }

  #sweep(): void {
    for (let swept = 0; swept < SWEPT_PER_ARRIVAL; swept++) {
      const entryCount = this.#endEntry - this.#firstEntry;
      if (entryCount - this.count <= this.count + FIRST_ENTRY_COUNT / 2) return;
      const slot = this.#takeFirst();
      if (slot !== NO_SLOT) this.append(slot);
    }
  }

  /**
   * Takes the entry of the page that is first in the queue; NO_SLOT when there is none. The page is
   * to leave, or else to be appended again.
   */
  takeOldest(): number {
    while (this.#firstEntry < this.#endEntry) {
      const slot = this.#takeFirst();
      if (slot !== NO_SLOT) return slot;
    }
    return NO_SLOT;
  }

  /** Takes the first entry out; NO_SLOT when it was out of date. */
  #takeFirst(): number {
    const entry = this.#firstEntry++;
    const slot = this.#slots[entry & (this.#slots.length - 1)]!;
    return this.#tags.tagOf(slot) === (entry & TAG_MASK) ? slot : NO_SLOT;
  }

  /** Gives a page whose entry was taken another one, as if it had just come. */
  append(slot: number): void {
    const entry = this.#endEntry++;
    this.#slots[entry & (this.#slots.length - 1)] = slot;
    this.#tags.setTag(slot, entry & TAG_MASK);
  }

  /** Doubles the ring; false when memory is short. */
  #grow(): boolean {
    const old = this.#slots;
    let slots: Int32Array<ArrayBuffer>;
    try {
      slots = new Int32Array(old.length * 2);
    } catch (cause) {
      if (cause instanceof RangeError) return false;
      throw cause;
    }
    for (let entry = this.#firstEntry; entry < this.#endEntry; entry++) {
      slots[entry & (slots.length - 1)] = old[entry & (old.length - 1)]!;
    }
    this.#slots = slots;
    return true;
  }
}
