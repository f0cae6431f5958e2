/**
 * GDSF, Greedy-Dual-Size-Frequency: the page with the fewest hits for each byte leaves, with an
 * age added so that what was popular once leaves too. Cherkasova, "Improving WWW proxies
 * performance with Greedy-Dual-Size-Frequency caching policy" (HP Labs 98-69R1, 1998); every miss
 * costs the same.
 *
 * For simulations only: a hit costs a walk through a heap, scans push out what they should not,
 * and large pages starve. It shows what knowing the sizes is worth at most.
 */
import type { EvictionPolicy, PolicyFamily, PolicyOptions } from './policy.ts';
import { SlotCharges } from './slot-charges.ts';
import { SlotHeap } from './slot-heap.ts';

const BYTES_PER_SLOT = 24;

/** A family with one policy: a simulation has no more. */
export function gdsfFamily(options: PolicyOptions): PolicyFamily {
  const metadataBytes = options.slotCount * BYTES_PER_SLOT;
  return { metadataBytes, create: () => new Gdsf(options.slotCount) };
}

/** Lowest age + hits / charge first. */
export class Gdsf implements EvictionPolicy {
  readonly name = 'gdsf';
  private readonly heap: SlotHeap;
  private readonly charges: SlotCharges;
  private readonly uses: Uint32Array;
  private age = 0;

  constructor(slotCount: number) {
    this.heap = new SlotHeap(new Float64Array(slotCount));
    this.charges = new SlotCharges(slotCount);
    this.uses = new Uint32Array(slotCount);
  }

  get count(): number {
    return this.heap.count;
  }

  get chargedBytes(): number {
    return this.charges.total;
  }

  insert(slot: number, charge: number, _keyHash: number): void {
    this.charges.enter(slot, charge);
    this.uses[slot] = 0;
    this.use(slot, charge);
  }

  touch(slot: number): void {
    this.use(slot, this.charges.of(slot, 'touch'));
  }

  remove(slot: number): void {
    this.charges.leave(slot);
    this.heap.remove(slot);
  }

  recharge(slot: number, charge: number): void {
    this.charges.change(slot, charge);
  }

  evict(): number {
    const slot = this.heap.lowest;
    if (slot === -1) return -1;
    this.age = this.heap.keyOf(slot);
    this.remove(slot);
    return slot;
  }

  setCapacity(_bytes: number): void {}

  release(): void {}

  private use(slot: number, charge: number): void {
    const uses = this.uses[slot]! + 1;
    this.uses[slot] = uses;
    this.heap.set(slot, this.age + uses / charge);
  }
}
