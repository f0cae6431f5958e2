/**
 * A bounded set of pages, each with a slot, found by the hash of the page: what a shadow holds. Slots
 * are what policies know pages by.
 */

import { SlotTable } from '../curves/slot-table.ts';

const BYTES_PER_SLOT = SlotTable.BYTES_PER_SLOT + 4 + 8;

/** No method allocates; memory is reserved at once. */
export class SampledPages {
  /** Pages in the set. */
  count = 0;
  private readonly table: SlotTable;
  private readonly pages: Float64Array;
  /** Slots that were left. */
  private readonly freeSlots: Int32Array;
  private freeCount = 0;
  private usedSlots = 0;

  /** `slotCount` is a power of two. */
  constructor(slotCount: number) {
    this.table = new SlotTable(slotCount);
    this.pages = new Float64Array(slotCount);
    this.freeSlots = new Int32Array(slotCount);
  }

  /** Bytes of a set of so many slots. */
  static bytesFor(slotCount: number): number {
    return slotCount * BYTES_PER_SLOT;
  }

  /** One more than the highest slot that ever held a page. */
  get slotsEnd(): number {
    return this.usedSlots;
  }

  /** The slot of the page with this hash, or -1. */
  find(hash: number): number {
    return this.table.find(hash);
  }

  /** Takes a page that is not in the set, which must have room; answers its slot. */
  add(page: number, hash: number): number {
    const slot = this.freeCount > 0 ? this.freeSlots[--this.freeCount]! : this.usedSlots++;
    this.table.add(hash, slot);
    this.pages[slot] = page;
    this.count++;
    return slot;
  }

  /** Lets the page in `slot` go. */
  remove(slot: number): void {
    this.table.remove(slot);
    this.pages[slot] = -1;
    this.freeSlots[this.freeCount++] = slot;
    this.count--;
  }

  hashOf(slot: number): number {
    return this.table.hashes[slot]!;
  }

  /** The page in `slot`, or -1. */
  pageOf(slot: number): number {
    return this.pages[slot]!;
  }
}
