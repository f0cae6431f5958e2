/** First in, first out: hits change nothing. The floor that every policy should be above. */

import { QueuePolicy } from './parts/queue-policy.ts';
import { QueueFamily } from './parts/slot-queues.ts';
import type { PolicyFamily, PolicyOptions } from './policy.ts';

/** A family of FIFOs. */
export function fifoFamily(options: PolicyOptions): PolicyFamily {
  return new QueueFamily(options, (family) => new Fifo(family));
}

/** Oldest first; the capacity does not change its order. */
class Fifo extends QueuePolicy {
  readonly name = 'fifo';

  constructor(family: QueueFamily) {
    super(family, 1);
  }

  insert(slot: number, charge: number, _keyHash: number): void {
    this.pages.enter(slot, 0, charge);
  }

  touch(slot: number): void {
    this.pages.queueOf(slot, 'touch');
  }

  evict(): number {
    const slot = this.pages.queues[0]!.tail;
    if (slot !== -1) this.pages.leave(slot);
    return slot;
  }
}
