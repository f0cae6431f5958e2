/**
 * The order in which slots were last referenced, and how deep in it a slot lies: the LRU stack of
 * Mattson, Gecsei, Slutz and Traiger, "Evaluation techniques for storage hierarchies" (IBM Systems
 * Journal, 1970), as a tree of counters over the times of the last references (Olken, 1981).
 *
 * The times that are some slot's last one are bits, and a Fenwick tree counts the bits of each word
 * of 32, so that both take little memory and few steps.
 */

/** Times are renumbered when they are used up; so many for each slot make that rare. */
const TIMES_PER_SLOT = 8;
/** A short order has more, since renumbering clears the whole tree. */
const TIMES_MIN = 1024;

/**
 * Slots are integers in `[0, slotCount)`, and every one is in the order at most once. No method
 * allocates; memory is 6 bytes a slot, reserved at once. A call takes O(log slotCount), its share
 * of the renumbering of times included.
 */
export class RecencyOrder {
  /** Slots that are in the order. */
  count = 0;
  /** Time of the last reference of a slot, plus 1; 0 while it is not in the order. */
  private readonly timeOf: Int32Array;
  /** A bit for each time: whether it is the last of a slot. */
  private readonly marks: Int32Array;
  /** Fenwick tree over the words of `marks`, from 1: how many bits are set. */
  private readonly tree: Int32Array;
  private readonly timesMax: number;
  private now = 0;

  constructor(slotCount: number) {
    const words = Math.ceil(Math.max(TIMES_MIN, slotCount * TIMES_PER_SLOT) / 32);
    this.timesMax = words * 32;
    this.timeOf = new Int32Array(slotCount);
    this.marks = new Int32Array(words);
    this.tree = new Int32Array(words + 1);
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
      depth = this.count - this.rank(before - 1) + 1;
      this.toggle(before - 1, -1);
      // Not among those that are renumbered below.
      this.timeOf[slot] = 0;
    }
    if (this.now === this.timesMax) this.renumber();
    this.toggle(this.now, 1);
    this.timeOf[slot] = ++this.now;
    return depth;
  }

  /** Takes `slot` out of the order; answers whether it was in it. */
  remove(slot: number): boolean {
    const time = this.timeOf[slot]!;
    if (time === 0) return false;
    this.timeOf[slot] = 0;
    this.toggle(time - 1, -1);
    this.count--;
    return true;
  }

  /** How many slots were last referenced at `time` or before. */
  private rank(time: number): number {
    const { tree } = this;
    const word = time >>> 5;
    let count = bitCount(this.marks[word]! & (-1 >>> (31 - (time & 31))));
    for (let at = word; at > 0; at &= at - 1) count += tree[at]!;
    return count;
  }

  private toggle(time: number, change: number): void {
    const { marks, tree } = this;
    const word = time >>> 5;
    marks[word] = marks[word]! ^ (1 << (time & 31));
    for (let at = word + 1; at < tree.length; at += at & -at) tree[at] = tree[at]! + change;
  }

  /** Numbers the times that are in use from 0, in their order, and builds the tree anew. */
  private renumber(): void {
    const { timeOf, marks, tree } = this;
    let used = 0;
    for (let slot = 0; slot < timeOf.length; slot++) {
      const time = timeOf[slot]!;
      if (time === 0) continue;
      timeOf[slot] = this.rank(time - 1);
      used++;
    }
    this.now = used;
    for (let word = 0; word < marks.length; word++) {
      const bits = Math.max(0, Math.min(32, used - word * 32));
      marks[word] = bits === 0 ? 0 : -1 >>> (32 - bits);
      const at = word + 1;
      tree[at] = Math.max(0, Math.min(at * 32, used) - (at - (at & -at)) * 32);
    }
  }
}

/** How many bits of a word are set (Warren, "Hacker's Delight", 5-1). */
function bitCount(word: number): number {
  let pairs = word - ((word >>> 1) & 0x5555_5555);
  pairs = (pairs & 0x3333_3333) + ((pairs >>> 2) & 0x3333_3333);
  return Math.imul((pairs + (pairs >>> 4)) & 0x0f0f_0f0f, 0x0101_0101) >>> 24;
}
