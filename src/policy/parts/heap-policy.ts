/**
 * What the policies do alike that order pages by a number: the page with the lowest one leaves.
 * They are for simulations only, since a hit costs a walk through a heap.
 */
import { assertCharge, type EvictionPolicy, throwSlotState } from '../policy.ts';
import { SlotHeap } from './slot-heap.ts';

/** A policy says what number a page has when it enters and after a hit. */
export abstract class HeapPolicy implements EvictionPolicy {
  abstract readonly name: string;
  chargedBytes = 0;
  protected readonly heap: SlotHeap;
  /** By slot; 0 means not resident. */
  private readonly charges: Uint32Array;

  /** `keys` is as `SlotHeap` wants it. */
  constructor(keys: Float64Array | Int32Array) {
    this.heap = new SlotHeap(keys);
    this.charges = new Uint32Array(keys.length);
  }

  get count(): number {
    return this.heap.count;
  }

  abstract insert(slot: number, charge: number, keyHash: number): void;

  abstract touch(slot: number): void;

  remove(slot: number): void {
    this.chargedBytes -= this.chargeOf(slot, 'remove');
    this.charges[slot] = 0;
    this.heap.remove(slot);
  }

  evict(): number {
    const slot = this.heap.lowest;
    if (slot !== -1) this.remove(slot);
    return slot;
  }

  setCapacity(_bytes: number): void {}

  release(): void {}

  /** Notes what a slot charges that is not resident yet. */
  protected charge(slot: number, charge: number): void {
    assertCharge(charge);
    if (this.charges[slot] !== 0) throwSlotState('insert', slot);
    this.charges[slot] = charge;
    this.chargedBytes += charge;
  }

  /** What a resident slot charges; throws, naming the event, for any other slot. */
  protected chargeOf(slot: number, event: string): number {
    const charge = this.charges[slot];
    if (charge === undefined || charge === 0) throwSlotState(event, slot);
    return charge;
  }
}
