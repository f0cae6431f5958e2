/**
 * ARC: one LRU of pages seen once and one of pages seen more often, whose sizes adapt to where
 * the ghosts are hit. Megiddo and Modha, "ARC: a self-tuning, low overhead replacement cache"
 * (FAST'03), figure 4; T1, T2, B1, B2, c and p are the paper's.
 */
import { GhostQueues } from './parts/ghost-queues.ts';
import { QueuePolicy } from './parts/queue-policy.ts';
import { QueueFamily } from './parts/slot-queues.ts';
import type { PolicyFamily, PolicyOptions } from './policy.ts';

const ONCE = 0; // T1 and B1
const OFTEN = 1; // T2 and B2

/** A family of ARCs. */
export function arcFamily(options: PolicyOptions): PolicyFamily {
  return new QueueFamily(options, (family) => new Arc(family));
}

/** Counts pages, as the paper does; a capacity in bytes is as many pages as it holds on average. */
class Arc extends QueuePolicy {
  readonly name = 'arc';
  ghostHitCount = 0;
  private readonly ghosts: GhostQueues;
  private readonly hashOf: (slot: number) => number;
  private capacityBytes = 0;
  /** Pages that T1 should have: p. */
  private target = 0;
  /** The ghosts among which the page announced was found, or -1. */
  private expectedFrom = -1;
  private isExpecting = false;

  constructor(family: QueueFamily) {
    super(family, 2);
    const { options } = family;
    this.ghosts = new GhostQueues({ queueCount: 2, keyCount: options.keyCount }, family.ghosts);
    this.hashOf = options.hashOf;
    this.setCapacity(options.capacityBytes);
  }

  override setCapacity(bytes: number): void {
    this.capacityBytes = bytes;
  }

  /** Cases II and III adapt p before a page is replaced. */
  expect(keyHash: number): void {
    this.isExpecting = true;
    this.expectedFrom = this.ghosts.queueOf(keyHash);
    if (this.expectedFrom === -1) return;
    this.ghostHitCount++;
    this.adapt(this.expectedFrom);
    this.ghosts.take(keyHash);
  }

  insert(slot: number, charge: number, keyHash: number): void {
    if (!this.isExpecting) this.expect(keyHash);
    this.pages.enter(slot, this.expectedFrom === -1 ? ONCE : OFTEN, charge);
    this.isExpecting = false;
    this.expectedFrom = -1;
    const capacity = this.pages.pagesIn(this.capacityBytes);
    this.target = Math.min(this.target, capacity); // it may have been lowered
    this.trimGhosts(capacity);
  }

  touch(slot: number): void {
    this.pages.move(slot, OFTEN);
  }

  evict(): number {
    if (this.expectedFrom !== -1) return this.replace(this.expectedFrom === OFTEN);
    const capacity = this.pages.pagesIn(this.capacityBytes);
    const onceCount = this.pages.queues[ONCE]!.count;
    if (onceCount >= capacity && onceCount > 0) return this.letGo(ONCE, false);
    if (onceCount + this.ghosts.counts[ONCE]! >= capacity) this.dropGhost(ONCE);
    else if (this.pages.count + this.ghostCount >= 2 * capacity) this.dropGhost(OFTEN);
    return this.replace(false);
  }

  override release(): void {
    this.ghosts.release();
  }

  private get ghostCount(): number {
    return this.ghosts.counts[ONCE]! + this.ghosts.counts[OFTEN]!;
  }

  private adapt(from: number): void {
    const once = this.ghosts.counts[ONCE]!;
    const often = this.ghosts.counts[OFTEN]!;
    if (from === ONCE) {
      const capacity = this.pages.pagesIn(this.capacityBytes);
      this.target = Math.min(capacity, this.target + Math.max(1, often / once));
    } else {
      this.target = Math.max(0, this.target - Math.max(1, once / often));
    }
  }

  /** The paper's REPLACE. */
  private replace(isInOftenGhosts: boolean): number {
    const [once, often] = this.pages.queues;
    const takesOnce =
      once!.count > 0 &&
      (once!.count > this.target ||
        (isInOftenGhosts && once!.count === this.target) ||
        often!.count === 0);
    return this.letGo(takesOnce ? ONCE : OFTEN, true);
  }

  private letGo(queue: number, leavesGhost: boolean): number {
    const slot = this.pages.queues[queue]!.tail;
    if (slot === -1) return -1;
    if (leavesGhost) this.ghosts.add(queue, this.hashOf(slot));
    this.pages.leave(slot);
    return slot;
  }

  private dropGhost(queue: number): void {
    if (this.ghosts.counts[queue]! > 0) this.ghosts.dropOldest(queue);
  }

  /** Where pages leave otherwise than by replacement the bounds of the directory are kept here. */
  private trimGhosts(capacity: number): void {
    const { counts } = this.ghosts;
    const onceCount = this.pages.queues[ONCE]!.count;
    while (counts[ONCE]! > 0 && onceCount + counts[ONCE]! > capacity) this.dropGhost(ONCE);
    while (counts[OFTEN]! > 0 && this.pages.count + this.ghostCount > 2 * capacity) {
      this.dropGhost(OFTEN);
    }
  }
}
