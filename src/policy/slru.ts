/**
 * Segmented LRU: a page climbs a segment with every hit and sinks one when its segment overflows.
 * Karedla, Love and Wherry, "Caching strategies to improve disk system performance" (IEEE Computer
 * 1994), here with more than two segments, as libCacheSim has it.
 */

import { QueuePolicy } from './parts/queue-policy.ts';
import { QueueFamily } from './parts/slot-queues.ts';
import type { PolicyFamily, PolicyOptions } from './policy.ts';

/** A family of SLRUs with 2 to 16 segments of equal size. */
export function slruFamily(options: PolicyOptions, segmentCount = 4): PolicyFamily {
  return new QueueFamily(options, (family) => new Slru(family, segmentCount));
}

/** Least recently used of the lowest segment first. */
class Slru extends QueuePolicy {
  readonly name = 'slru';
  /** Bytes that a hit has pushed out of the lowest segment, and that should leave now. */
  surplusBytes = 0;
  private readonly segmentCount: number;
  private segmentBytes = 0;

  constructor(family: QueueFamily, segmentCount: number) {
    super(family, segmentCount);
    this.segmentCount = segmentCount;
    this.setCapacity(family.options.capacityBytes);
  }

  override setCapacity(bytes: number): void {
    this.segmentBytes = Math.floor(bytes / this.segmentCount);
  }

  /** Enters the lowest segment with room, or the lowest of all. */
  insert(slot: number, charge: number, _keyHash: number): void {
    for (let segment = 0; segment < this.segmentCount; segment++) {
      if (this.pages.queues[segment]!.chargedBytes + charge > this.segmentBytes) continue;
      this.pages.enter(slot, segment, charge);
      return;
    }
    this.pages.enter(slot, 0, charge);
  }

  touch(slot: number): void {
    const segment = this.pages.queueOf(slot, 'touch');
    const target = Math.min(segment + 1, this.segmentCount - 1);
    this.pages.move(slot, target);
    if (target !== segment) this.settle(target, slot);
  }

  evict(): number {
    for (const { tail } of this.pages.queues) {
      if (tail === -1) continue;
      this.surplusBytes = Math.max(0, this.surplusBytes - this.pages.chargeOf(tail));
      this.pages.leave(tail);
      return tail;
    }
    return -1;
  }

  /** Lets the oldest of a segment sink until it is full at most; so on for those below. */
  private settle(from: number, entered: number): void {
    const { queues } = this.pages;
    for (let segment = from; segment > 0; segment--) {
      const queue = queues[segment]!;
      while (queue.chargedBytes > this.segmentBytes && queue.tail !== entered) {
        this.pages.move(queue.tail, segment - 1);
        // Of fewer pages than segments none is too many.
        if (segment === 1 && this.segmentBytes > 0) {
          this.surplusBytes = Math.max(0, queues[0]!.chargedBytes - this.segmentBytes);
        }
      }
    }
  }
}
