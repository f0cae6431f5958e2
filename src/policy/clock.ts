/**
 * CLOCK: a FIFO that gives used pages another round. Corbató, "A paging experiment with the
 * Multics system" (1969); with a counter of more than one bit it is the generalised CLOCK of Smith,
 * "Sequentiality and prefetching in database systems" (TODS 1978).
 */

import { QueuePolicy } from './parts/queue-policy.ts';
import { QueueFamily } from './parts/slot-queues.ts';
import { type PolicyFamily, type PolicyOptions, sweepLimitOf } from './policy.ts';

/** A family of CLOCKs; hits count up to `countMax`, which is 1 for the classic one. */
export function clockFamily(options: PolicyOptions, countMax = 1): PolicyFamily {
  return new QueueFamily(options, (family) => new Clock(family, countMax));
}

/** A hit counts, up to a limit; the hand takes one off each page it passes. */
class Clock extends QueuePolicy {
  readonly name: string;
  private readonly countMax: number;
  private readonly sweepLimit: number;

  constructor(family: QueueFamily, countMax: number) {
    super(family, 1);
    this.name = countMax === 1 ? 'clock' : 'clock-2bit';
    this.countMax = countMax;
    this.sweepLimit = sweepLimitOf(family.options);
  }

  insert(slot: number, charge: number, _keyHash: number): void {
    this.pages.enter(slot, 0, charge);
  }

  touch(slot: number): void {
    const uses = this.pages.markOf(slot, 'touch');
    if (uses < this.countMax) this.pages.setMark(slot, uses + 1);
  }

  /** The first page that was not used; if all it may look at were, the one after them. */
  evict(): number {
    const queue = this.pages.queues[0]!;
    for (let step = 0; queue.count > 0; step++) {
      const slot = queue.tail;
      const uses = this.pages.markOf(slot, 'evict');
      if (uses === 0 || step >= this.sweepLimit) {
        this.pages.leave(slot);
        return slot;
      }
      this.pages.move(slot, 0, uses - 1);
    }
    return -1;
  }
}
