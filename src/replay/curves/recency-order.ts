/**
 * The order in which slots were last referenced, and how deep in it a slot lies: the LRU stack of
 * Mattson, Gecsei, Slutz and Traiger, "Evaluation techniques for storage hierarchies" (IBM Systems
 * Journal, 1970), kept as a Fenwick tree over the times of the last references (Olken, 1981).
 */

/** Times are renumbered when they are used up; so many for each slot make that rare. */
const TIMES_PER_SLOT = 4;
/** A short order has more, since renumbering clears the whole tree. */
const TIMES_MIN = 1024;

/**
 * Slots are integers in `[0, slotCount)`, and every one is in the order at most once. No method
 * allocates; memory is 36 bytes a slot, reserved at once. Each call takes O(log slotCount), the
 * renumbering of times included.
 */
export class RecencyOrder {
  /** Slots that are in the order. */
  count = 0;
  /** Time of the last reference of a slot, from 1; 0 while it is not in the order. */
  private readonly timeOf: Int32Array;
  /** The slot that was last referenced at a time, plus 1; 0 where none is in the order. */
  private readonly slotAt: Int32Array;
  /** Fenwick tree over the times: 1 where a slot is. */
  private readonly tree: Int32Array;
  private readonly timesMax: number;
  private now = 0;

  constructor(slotCount: number) {
    this.timesMax = Math.max(TIMES_MIN, slotCount * TIMES_PER_SLOT);
    this.timeOf = new Int32Array(slotCount);
    this.slotAt = new Int32Array(this.timesMax + 1);
    this.tree = new Int32Array(this.timesMax + 1);
  }

  /**
   * Moves `slot` to the front. Answers its depth before: 1 for the slot that was in front, `count`
   * for the one at the end, 0 for one that was not in the order. An LRU cache of C pages hits on
   * depths from 1 to C.
   */
  reference(slot: number): number {
    const before = this.timeOf[slot]!;
    let depth = 0;
    if (before === 0) {
      this.count++;
    } else {
      depth = this.count - this.referencedUntil(before) + 1;
      this.add(before, -1);
      this.slotAt[before] = 0;
      // Not among those that are renumbered below.
      this.timeOf[slot] = 0;
    }
    if (this.now === this.timesMax) this.renumber();
    const time = ++this.now;
    this.timeOf[slot] = time;
    this.slotAt[time] = slot + 1;
    this.add(time, 1);
    return depth;
  }

  /** Takes `slot` out of the order; answers whether it was in it. */
  remove(slot: number): boolean {
    const time = this.timeOf[slot]!;
    if (time === 0) return false;
    this.timeOf[slot] = 0;
    this.slotAt[time] = 0;
    this.add(time, -1);
    this.count--;
    return true;
  }

  private referencedUntil(time: number): number {
    const tree = this.tree;
    let count = 0;
    for (let at = time; at > 0; at &= at - 1) count += tree[at]!;
    return count;
  }

  private add(time: number, change: number): void {
    const { tree, timesMax } = this;
    for (let at = time; at <= timesMax; at += at & -at) tree[at] = tree[at]! + change;
  }

  /** Numbers the times that are in use from 1, in their order, and builds the tree anew. */
  private renumber(): void {
    const { timeOf, slotAt, tree, timesMax } = this;
    let used = 0;
    for (let time = 1; time <= timesMax; time++) {
      const slot = slotAt[time]!;
      if (slot === 0) continue;
      slotAt[time] = 0;
      used++;
      slotAt[used] = slot;
      timeOf[slot - 1] = used;
    }
    this.now = used;
    for (let at = 1; at <= timesMax; at++) {
      const width = at & -at;
      tree[at] = Math.max(0, Math.min(at, used) - (at - width));
    }
  }
}
