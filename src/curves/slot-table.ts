/**
 * Slots found by the hash of what is in them: the hash table of a bounded set. Which slots are taken
 * is for its user to know.
 */

/** Cells for each slot: a power of two, so that runs of taken cells stay short. */
const CELLS_PER_SLOT = 4;

/** No method allocates; memory is reserved at once. */
export class SlotTable {
  /** Of the table, for each slot. */
  static readonly BYTES_PER_SLOT = CELLS_PER_SLOT * 4 + 4;
  /** The hash in each slot. Only read it: `add` writes. */
  readonly hashes: Uint32Array;
  /** Slot + 1 by cell; 0 is free. The first cell of a hash follows from it; a taken one sends on. */
  private readonly cells: Int32Array;
  private readonly cellMask: number;
  private readonly cellShift: number;

  /** `slotCount` is a power of two. */
  constructor(slotCount: number) {
    const cellCount = slotCount * CELLS_PER_SLOT;
    this.cells = new Int32Array(cellCount);
    this.cellMask = cellCount - 1;
    this.cellShift = Math.clz32(cellCount) + 1;
    this.hashes = new Uint32Array(slotCount);
  }

  /** The slot of `hash`, or -1. */
  find(hash: number): number {
    return this.cells[this.cellFor(hash)]! - 1;
  }

  /** Puts a hash that is not in the table into `slot`, which is free. */
  add(hash: number, slot: number): void {
    this.cells[this.cellFor(hash)] = slot + 1;
    this.hashes[slot] = hash;
  }

  /** Frees a taken slot: moves what could not be found any more (Knuth, 6.4, R). */
  remove(slot: number): void {
    const { cells, cellMask, hashes } = this;
    let hole = this.cellFor(hashes[slot]!);
    for (let cell = (hole + 1) & cellMask; cells[cell] !== 0; cell = (cell + 1) & cellMask) {
      const first = this.firstCell(hashes[cells[cell]! - 1]!);
      if (((cell - first) & cellMask) < ((cell - hole) & cellMask)) continue;
      cells[hole] = cells[cell]!;
      hole = cell;
    }
    cells[hole] = 0;
  }

  /** Where `hash` is, or else where it would go. Sampled hashes are small: their low bits differ. */
  private cellFor(hash: number): number {
    const { cells, cellMask, hashes } = this;
    let cell = this.firstCell(hash);
    for (;;) {
      const taken = cells[cell]!;
      if (taken === 0 || hashes[taken - 1] === hash) return cell;
      cell = (cell + 1) & cellMask;
    }
  }

  private firstCell(hash: number): number {
    return Math.imul(hash, 0x9e3779b1) >>> this.cellShift;
  }
}
