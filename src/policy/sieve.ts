/**
 * SIEVE: a FIFO in which used pages stay where they are while a hand sweeps from old to new.
 * Zhang et al., "SIEVE is simpler than LRU" (NSDI'24), algorithm 1. Made for web caches; scans
 * that touch their pages twice do it much harm.
 */

import { QueuePolicy } from './parts/queue-policy.ts';
import { QueueFamily } from './parts/slot-queues.ts';
import { type PolicyFamily, type PolicyOptions, sweepLimitOf } from './policy.ts';

/** A family of SIEVEs. */
export function sieveFamily(options: PolicyOptions): PolicyFamily {
  return new QueueFamily(options, (family) => new Sieve(family));
}

/** One bit a page, one hand. */
class Sieve extends QueuePolicy {
  readonly name = 'sieve';
  private readonly sweepLimit: number;
  /** The next slot to look at, or -1 for the oldest. */
  private hand = -1;

  constructor(family: QueueFamily) {
    super(family, 1);
    this.sweepLimit = sweepLimitOf(family.options);
  }

  insert(slot: number, charge: number, _keyHash: number): void {
    this.pages.enter(slot, 0, charge);
  }

  touch(slot: number): void {
    if (this.pages.markOf(slot, 'touch') === 0) this.pages.setMark(slot, 1);
  }

  override remove(slot: number): void {
    const isAtHand = slot === this.hand;
    const newer = isAtHand ? this.pages.queues[0]!.newerThan(slot) : -1;
    this.pages.leave(slot);
    if (isAtHand) this.hand = newer;
  }

  evict(): number {
    const queue = this.pages.queues[0]!;
    if (queue.count === 0) return -1;
    let slot = this.hand === -1 ? queue.tail : this.hand;
    for (let step = 0; this.pages.markOf(slot, 'evict') !== 0; step++) {
      if (step >= this.sweepLimit) break;
      this.pages.setMark(slot, 0);
      const newer = queue.newerThan(slot);
      slot = newer === -1 ? queue.tail : newer;
    }
    this.hand = queue.newerThan(slot);
    this.pages.leave(slot);
    return slot;
  }
}
