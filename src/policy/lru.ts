/**
 * Exact LRU, the yardstick: the page whose last use is longest ago leaves. Twelve bytes a page.
 * Scans flush it and loops defeat it, which is why it is not the default.
 */

import { SlotQueue } from './parts/slot-queue.ts';
import {
  assertCharge,
  type EvictionPolicy,
  type PolicyFamily,
  type PolicyOptions,
  throwSlotState,
} from './policy.ts';

const BYTES_PER_SLOT = 12;

/** What the policies of a layer keep for every slot. */
export class LruFamily implements PolicyFamily {
  readonly links: Int32Array;
  /** 0 means not resident. */
  readonly charges: Uint32Array;
  usedSlotCount = 0;

  constructor(options: PolicyOptions) {
    this.links = new Int32Array(2 * options.slotCount);
    this.charges = new Uint32Array(options.slotCount);
  }

  get metadataBytes(): number {
    return this.usedSlotCount * BYTES_PER_SLOT;
  }

  useSlots(count: number): void {
    this.usedSlotCount = Math.max(this.usedSlotCount, count);
  }

  create(): Lru {
    return new Lru(this);
  }
}

/** Least recently used first; the capacity does not change its order. */
export class Lru implements EvictionPolicy {
  readonly name = 'lru';
  private readonly family: LruFamily;
  private readonly queue: SlotQueue;
  private readonly charges: Uint32Array;

  constructor(family: LruFamily) {
    this.family = family;
    this.queue = new SlotQueue(family.links);
    this.charges = family.charges;
  }

  get count(): number {
    return this.queue.count;
  }

  get chargedBytes(): number {
    return this.queue.chargedBytes;
  }

  insert(slot: number, charge: number, _keyHash: number): void {
    assertCharge(charge);
    if (this.charges[slot] !== 0) throwSlotState('insert', slot);
    if (slot >= this.family.usedSlotCount) this.family.usedSlotCount = slot + 1;
    this.charges[slot] = charge;
    this.queue.push(slot, charge);
  }

  touch(slot: number): void {
    const charge = this.chargeOf(slot, 'touch');
    if (slot === this.queue.head) return;
    this.queue.remove(slot, charge);
    this.queue.push(slot, charge);
  }

  remove(slot: number): void {
    this.queue.remove(slot, this.chargeOf(slot, 'remove'));
    this.charges[slot] = 0;
  }

  evict(): number {
    const slot = this.queue.tail;
    if (slot !== -1) this.remove(slot);
    return slot;
  }

  setCapacity(_bytes: number): void {}

  release(): void {}

  private chargeOf(slot: number, event: string): number {
    const charge = this.charges[slot];
    if (charge === undefined || charge === 0) throwSlotState(event, slot);
    return charge;
  }
}
