/**
 * What a layer knows of the page in each slot, in two integers: where its bytes lie, or the word
 * that it repeats; and how it is encoded, in how many bytes, or for a same-filled page its tag in
 * the queue of those.
 */

import { type Encoding, FILLED } from '../tmem/layer.ts';
import { TAG_MASK, type TagStore } from './filled-queue.ts';

/** Bytes of a slot's row. */
export const ROW_BYTES = 8;

const ROW = 2;
const LENGTH_MASK = TAG_MASK;
const ENCODING_SHIFT = 20;
const ENCODING_MASK = 3;
const PERSISTENT = 1 << 24;

export class PageTable implements TagStore {
  readonly #rows: Int32Array;

  /** Mapped by the system as it is touched. */
  constructor(slotCount: number) {
    this.#rows = new Int32Array(slotCount * ROW);
  }

  /** A page enters the slot; its location or word is still to be set. */
  enter(slot: number, encoding: Encoding, length: number, isPersistent: boolean): void {
    const flag = isPersistent ? PERSISTENT : 0;
    this.#rows[slot * ROW + 1] = (encoding << ENCODING_SHIFT) | length | flag;
  }

  /** The page left the slot. */
  leave(slot: number): void {
    this.#rows[slot * ROW + 1] = 0;
  }

  /** A location in the slabs, or the word of a same-filled page. */
  locationOf(slot: number): number {
    return this.#rows[slot * ROW]!;
  }

  setLocation(slot: number, location: number): void {
    this.#rows[slot * ROW] = location;
  }

  encodingOf(slot: number): Encoding {
    return ((this.#rows[slot * ROW + 1]! >>> ENCODING_SHIFT) & ENCODING_MASK) as Encoding;
  }

  /** Bytes of the encoded page; means nothing for a same-filled one. */
  lengthOf(slot: number): number {
    return this.#rows[slot * ROW + 1]! & LENGTH_MASK;
  }

  setPersistent(slot: number, isPersistent: boolean): void {
    const state = this.#rows[slot * ROW + 1]!;
    this.#rows[slot * ROW + 1] = isPersistent ? state | PERSISTENT : state & ~PERSISTENT;
  }

  isPersistent(slot: number): boolean {
    return (this.#rows[slot * ROW + 1]! & PERSISTENT) !== 0;
  }

  tagOf(slot: number): number {
    const state = this.#rows[slot * ROW + 1]!;
    return state >>> ENCODING_SHIFT === FILLED ? state & TAG_MASK : -1;
  }

  setTag(slot: number, tag: number): void {
    this.#rows[slot * ROW + 1] = (FILLED << ENCODING_SHIFT) | tag;
  }
}
