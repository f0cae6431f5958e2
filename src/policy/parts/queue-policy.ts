/** What the policies whose pages are in queues do alike: they differ in where a page goes, and when. */
import type { EvictionPolicy } from '../policy.ts';
import { type QueueFamily, SlotQueues } from './slot-queues.ts';

/** A policy says what enters which queue, what a hit does, and who is the next to leave. */
export abstract class QueuePolicy implements EvictionPolicy {
  abstract readonly name: string;
  protected readonly pages: SlotQueues;

  constructor(family: QueueFamily, queueCount: number) {
    this.pages = new SlotQueues(family.table, queueCount);
  }

  get count(): number {
    return this.pages.count;
  }

  get chargedBytes(): number {
    return this.pages.chargedBytes;
  }

  abstract insert(slot: number, charge: number, keyHash: number): void;

  abstract touch(slot: number): void;

  abstract evict(): number;

  remove(slot: number): void {
    this.pages.leave(slot);
  }

  /** By default the order does not depend on the capacity. */
  setCapacity(_bytes: number): void {}

  /** By default nothing is remembered of pages that left. */
  release(): void {}
}
