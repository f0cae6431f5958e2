/** What each slot charges, where a policy keeps them in no queue of `slot-queues.ts`. */

import { assertCharge, throwSlotState } from './policy.ts';

/** A slot that was not entered is not resident: naming it is a defect of the caller, and throws. */
export class SlotCharges {
  /** Of all resident slots, bytes. */
  total = 0;
  /** 0 means not resident. */
  private readonly charges: Uint32Array;

  constructor(slotCount: number) {
    this.charges = new Uint32Array(slotCount);
  }

  enter(slot: number, charge: number): void {
    assertCharge(charge);
    if (this.charges[slot] !== 0) throwSlotState('insert', slot);
    this.charges[slot] = charge;
    this.total += charge;
  }

  leave(slot: number): void {
    this.total -= this.of(slot, 'remove');
    this.charges[slot] = 0;
  }

  change(slot: number, charge: number): void {
    assertCharge(charge);
    this.total += charge - this.of(slot, 'recharge');
    this.charges[slot] = charge;
  }

  /** What a resident slot charges; `event` is what is being done to it. */
  of(slot: number, event: string): number {
    const charge = this.charges[slot];
    if (charge === undefined || charge === 0) throwSlotState(event, slot);
    return charge;
  }
}
