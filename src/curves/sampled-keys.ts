/**
 * A bounded set of hashes, each with a slot: the keys that fixed-size SHARDS follows. A hash table
 * finds the slot of a hash, and a heap the largest hash, which leaves first.
 */

/** Cells of the hash table for each key. */
const CELLS_PER_KEY = 4;
const FREE = -1;

/** No method allocates; memory is 24 bytes a key, reserved at once. */
export class SampledKeys {
  /** Keys in the set. */
  count = 0;
  readonly keysMax: number;
  /** Slots by cell. The first cell of a hash follows from it; one that is taken sends it on. */
  private readonly cells: Int32Array;
  private readonly cellMask: number;
  private readonly cellShift: number;
  /** The hash in each slot. */
  private readonly hashes: Uint32Array;
  /** A binary heap of `count` slots, the largest hash in front; behind it the free slots. */
  private readonly heap: Int32Array;

  /** `keysMax` is a power of two. */
  constructor(keysMax: number) {
    this.keysMax = keysMax;
    const cellCount = keysMax * CELLS_PER_KEY;
    this.cells = new Int32Array(cellCount).fill(FREE);
    this.cellMask = cellCount - 1;
    this.cellShift = Math.clz32(cellCount) + 1;
    this.hashes = new Uint32Array(keysMax);
    this.heap = Int32Array.from({ length: keysMax }, (_, slot) => slot);
  }

  get isFull(): boolean {
    return this.count === this.keysMax;
  }

  /** The slot of `hash`, or -1. */
  find(hash: number): number {
    return this.cells[this.cellFor(hash)]!;
  }

  /** Takes a hash that is not in the set, which must not be full; answers its slot. */
  add(hash: number): number {
    const slot = this.heap[this.count]!;
    this.hashes[slot] = hash;
    this.cells[this.cellFor(hash)] = slot;
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
    this.clear(this.cellFor(this.hashes[slot]!));
    const last = this.heap[--this.count]!;
    this.heap[this.count] = slot;
    if (this.count > 0) this.sink(last);
    return slot;
  }

  /** Where `hash` is, or else where it would go. Sampled hashes are small: their low bits differ. */
  private cellFor(hash: number): number {
    let cell = this.firstCell(hash);
    for (;;) {
      const slot = this.cells[cell]!;
      if (slot === FREE || this.hashes[slot] === hash) return cell;
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
    for (let cell = (hole + 1) & cellMask; cells[cell] !== FREE; cell = (cell + 1) & cellMask) {
      const first = this.firstCell(hashes[cells[cell]!]!);
      const isBetween = ((cell - first) & cellMask) < ((cell - hole) & cellMask);
      if (isBetween) continue;
      cells[hole] = cells[cell]!;
      hole = cell;
    }
    cells[hole] = FREE;
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
