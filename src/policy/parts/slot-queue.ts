/**
 * A doubly linked list of slots inside an array of links. The queues of one policy share the
 * array, since a slot is in at most one of them. Links hold slot + 1, so that 0 is "none" and an
 * untouched (lazily mapped) array is already a valid empty one.
 */
export class SlotQueue {
  /** Slots in the queue. */
  count = 0;
  /** Sum of the charges of its slots. */
  chargedBytes = 0;
  private first = 0;
  private last = 0;
  private readonly links: Int32Array;

  /** `links` has two entries a slot: the neighbour towards the head, the one towards the tail. */
  constructor(links: Int32Array) {
    this.links = links;
  }

  /** The newest slot, or -1. */
  get head(): number {
    return this.first - 1;
  }

  /** The oldest slot, or -1. */
  get tail(): number {
    return this.last - 1;
  }

  /** The slot after this one towards the head, or -1. */
  newerThan(slot: number): number {
    return this.links[2 * slot]! - 1;
  }

  /** Puts a slot that is in no queue at the head. */
  push(slot: number, charge: number): void {
    const links = this.links;
    links[2 * slot] = 0;
    links[2 * slot + 1] = this.first;
    if (this.first === 0) this.last = slot + 1;
    else links[2 * (this.first - 1)] = slot + 1;
    this.first = slot + 1;
    this.count++;
    this.chargedBytes += charge;
  }

  /** Takes out a slot of this queue, wherever it is. */
  remove(slot: number, charge: number): void {
    const links = this.links;
    const newer = links[2 * slot]!;
    const older = links[2 * slot + 1]!;
    if (newer === 0) this.first = older;
    else links[2 * (newer - 1) + 1] = older;
    if (older === 0) this.last = newer;
    else links[2 * (older - 1)] = newer;
    this.count--;
    this.chargedBytes -= charge;
  }
}
