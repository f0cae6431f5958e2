/**
 * A bounded set of hashes, each with a slot: the keys that fixed-size SHARDS follows. A hash table
 * finds the slot of a hash, and a heap the largest hash, which leaves first.
 */

import { SlotTable } from './slot-table.ts';

/** No method allocates; memory is 24 bytes a key, reserved at once. */
export class SampledKeys {
  /** Keys in the set. */
  count = 0;
  readonly keysMax: number;
  private readonly table: SlotTable;
  /** Those of the table, by slot. */
  private readonly hashes: Uint32Array;
  /** A binary heap of `count` slots, the largest hash in front; behind it the free slots. */
  private readonly heap: Int32Array;

  /** `keysMax` is a power of two. */
  constructor(keysMax: number) {
    this.keysMax = keysMax;
    this.table = new SlotTable(keysMax);
    this.hashes = this.table.hashes;
    this.heap = Int32Array.from({ length: keysMax }, (_, slot) => slot);
  }

  get isFull(): boolean {
    return this.count === this.keysMax;
  }

  /** The slot of `hash`, or -1. */
  find(hash: number): number {
    return this.table.find(hash);
  }

  /** Takes a hash that is not in the set, which must not be full; answers its slot. */
  add(hash: number): number {
    const slot = this.heap[this.count]!;
    this.table.add(hash, slot);
    this.rise(this.count++, slot);
    return slot;
  }

  /** The largest hash; the set must not be empty. */
  get largest(): number {
    return this.hashes[this.heap[0]!]!;
  }

  /** Drops the largest hash; answers its slot, which the next key gets. */
  dropLargest(): number {
    const slot = this.heap[0]!;
    this.table.remove(slot);
    const last = this.heap[--this.count]!;
    this.heap[this.count] = slot;
    if (this.count > 0) this.sink(last);
    return slot;
  }

  private rise(from: number, slot: number): void {
    const { heap, hashes } = this;
    const hash = hashes[slot]!;
    let at = from;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (hashes[heap[parent]!]! >= hash) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = slot;
  }

  /** Puts `slot` in the place of the front, and down to where it belongs. */
  private sink(slot: number): void {
    const { heap, hashes, count } = this;
    const hash = hashes[slot]!;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= count) break;
      if (child + 1 < count && hashes[heap[child + 1]!]! > hashes[heap[child]!]!) child++;
      if (hashes[heap[child]!]! <= hash) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = slot;
  }
}
