/**
 * A bounded set of pages, each with a slot, found by the hash of the page: what a shadow holds. Slots
 * are what policies know pages by.
 */

/** Cells of the hash table for each slot: a power of two, so that runs of taken cells stay short. */
const CELLS_PER_SLOT = 4;
const BYTES_PER_SLOT = CELLS_PER_SLOT * 4 + 4 + 4 + 8;

/** No method allocates; memory is reserved at once. */
export class SampledPages {
  /** Pages in the set. */
  count = 0;
  /** Slot + 1 by cell; 0 is free. The first cell of a hash follows from it; a taken one sends on. */
  private readonly cells: Int32Array;
  private readonly cellMask: number;
  private readonly cellShift: number;
  private readonly hashes: Uint32Array;
  private readonly pages: Float64Array;
  /** Slots that were left. */
  private readonly freeSlots: Int32Array;
  private freeCount = 0;
  private usedSlots = 0;

  /** `slotCount` is a power of two. */
  constructor(slotCount: number) {
    const cellCount = slotCount * CELLS_PER_SLOT;
    this.cells = new Int32Array(cellCount);
    this.cellMask = cellCount - 1;
    this.cellShift = Math.clz32(cellCount) + 1;
    this.hashes = new Uint32Array(slotCount);
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
    return this.cells[this.cellFor(hash)]! - 1;
  }

  /** Takes a page that is not in the set, which must have room; answers its slot. */
  add(page: number, hash: number): number {
    const slot = this.freeCount > 0 ? this.freeSlots[--this.freeCount]! : this.usedSlots++;
    this.cells[this.cellFor(hash)] = slot + 1;
    this.hashes[slot] = hash;
    this.pages[slot] = page;
    this.count++;
    return slot;
  }

  /** Lets the page in `slot` go. */
  remove(slot: number): void {
    this.clear(this.cellFor(this.hashes[slot]!));
    this.pages[slot] = -1;
    this.freeSlots[this.freeCount++] = slot;
    this.count--;
  }

  hashOf(slot: number): number {
    return this.hashes[slot]!;
  }

  /** The page in `slot`, or -1. */
  pageOf(slot: number): number {
    return this.pages[slot]!;
  }

  /** Where `hash` is, or else where it would go. Sampled hashes are small: their low bits differ. */
  private cellFor(hash: number): number {
    let cell = this.firstCell(hash);
    for (;;) {
      const slot = this.cells[cell]! - 1;
      if (slot === -1 || this.hashes[slot] === hash) return cell;
      cell = (cell + 1) & this.cellMask;
    }
  }

  private firstCell(hash: number): number {
    return Math.imul(hash, 0x9e3779b1) >>> this.cellShift;
  }

  /** Frees a cell and moves those behind it that could not be found any more (Knuth, 6.4, R). */
  private clear(freed: number): void {
    const { cells, cellMask, hashes } = this;
    let hole = freed;
    for (let cell = (hole + 1) & cellMask; cells[cell] !== 0; cell = (cell + 1) & cellMask) {
      const first = this.firstCell(hashes[cells[cell]! - 1]!);
      if (((cell - first) & cellMask) < ((cell - hole) & cellMask)) continue;
      cells[hole] = cells[cell]!;
      hole = cell;
    }
    cells[hole] = 0;
  }
}
