/**
 * Exact LRU, the yardstick: the page whose last use is longest ago leaves. Twelve bytes a page.
 * Scans flush it and loops defeat it, which is why it is not the default.
 */
import { assertCharge, type EvictionPolicy, type PolicyOptions, throwSlotState } from './policy.ts';
import { SlotQueue } from './slot-queue.ts';

const BYTES_PER_SLOT = 12;

/** Least recently used first; the capacity does not change its order. */
export class Lru implements EvictionPolicy {
  readonly name = 'lru';
  private readonly queue: SlotQueue;
  /** 0 means not resident. */
  private readonly charges: Uint32Array;
  private usedSlotCount = 0;

  constructor(options: PolicyOptions) {
    this.queue = new SlotQueue(new Int32Array(2 * options.slotCount));
    this.charges = new Uint32Array(options.slotCount);
  }

  get metadataBytes(): number {
    return this.usedSlotCount * BYTES_PER_SLOT;
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
    if (slot >= this.usedSlotCount) this.usedSlotCount = slot + 1;
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

  recharge(slot: number, charge: number): void {
    assertCharge(charge);
    this.queue.chargedBytes += charge - this.chargeOf(slot, 'recharge');
    this.charges[slot] = charge;
  }

  evict(): number {
    const slot = this.queue.tail;
    if (slot !== -1) this.remove(slot);
    return slot;
  }

  setCapacity(_bytes: number): void {}

  private chargeOf(slot: number, event: string): number {
    const charge = this.charges[slot];
    if (charge === undefined || charge === 0) throwSlotState(event, slot);
    return charge;
  }
}
