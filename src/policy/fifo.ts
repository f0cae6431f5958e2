/** First in, first out: hits change nothing. The floor that every policy should be above. */
import type { EvictionPolicy, PolicyFamily, PolicyOptions } from './policy.ts';
import { QueueFamily, SlotQueues } from './slot-queues.ts';

/** A family of FIFOs. */
export function fifoFamily(options: PolicyOptions): PolicyFamily {
  return new QueueFamily(options, (family) => new Fifo(family));
}

/** Oldest first; the capacity does not change its order. */
export class Fifo implements EvictionPolicy {
  readonly name = 'fifo';
  private readonly pages: SlotQueues;

  constructor(family: QueueFamily) {
    this.pages = new SlotQueues(family.table, 1);
  }

  get count(): number {
    return this.pages.count;
  }

  get chargedBytes(): number {
    return this.pages.chargedBytes;
  }

  insert(slot: number, charge: number, _keyHash: number): void {
    this.pages.enter(slot, 0, charge);
  }

  touch(slot: number): void {
    this.pages.queueOf(slot, 'touch');
  }

  remove(slot: number): void {
    this.pages.leave(slot);
  }

  recharge(slot: number, charge: number): void {
    this.pages.recharge(slot, charge);
  }

  evict(): number {
    const slot = this.pages.queues[0]!.tail;
    if (slot !== -1) this.pages.leave(slot);
    return slot;
  }

  setCapacity(_bytes: number): void {}

  release(): void {}
}
