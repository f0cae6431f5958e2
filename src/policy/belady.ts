/**
 * The floor: the page whose next use is furthest away leaves. Belady, "A study of replacement
 * algorithms for a virtual-storage computer" (IBM Systems Journal 1966); every page that is missed
 * enters, as in a cache that has to hold what it reads. Optimal for pages that charge alike.
 *
 * For simulations only: it has to be told the future.
 */
import { HeapPolicy } from './parts/heap-policy.ts';
import type { PolicyFamily, PolicyOptions } from './policy.ts';

const BYTES_PER_SLOT = 16;

/** A next use that does not come. */
export const NEVER_USED = 0x7fff_ffff;

/** What Belady knows of the stream that it is run on. */
export interface Future {
  /**
   * Of some requests in a row: the index in the stream of the next one for the same page, or
   * `NEVER_USED`.
   */
  nextUses: Int32Array;
  /** Which of them is the present request; whoever runs the stream keeps both. */
  now: number;
}

/** A family with one policy: a stream is run once at a time. */
export function beladyFamily(options: PolicyOptions, future: Future): PolicyFamily {
  const metadataBytes = options.slotCount * BYTES_PER_SLOT;
  return { metadataBytes, create: () => new Belady(options.slotCount, future) };
}

/** Furthest next use first. */
class Belady extends HeapPolicy {
  readonly name = 'belady';
  private readonly future: Future;

  constructor(slotCount: number, future: Future) {
    super(new Int32Array(slotCount));
    this.future = future;
  }

  insert(slot: number, charge: number, _keyHash: number): void {
    this.charge(slot, charge);
    this.heap.set(slot, -this.nextUse());
  }

  touch(slot: number): void {
    this.chargeOf(slot, 'touch');
    this.heap.set(slot, -this.nextUse());
  }

  private nextUse(): number {
    return this.future.nextUses[this.future.now]!;
  }
}
