/**
 * GDSF, Greedy-Dual-Size-Frequency: the page with the fewest hits for each byte leaves, with an
 * age added so that what was popular once leaves too. Cherkasova, "Improving WWW proxies
 * performance with Greedy-Dual-Size-Frequency caching policy" (HP Labs 98-69R1, 1998); every miss
 * costs the same.
 *
 * For simulations only: a hit costs a walk through a heap, scans push out what they should not,
 * and large pages starve. It shows what knowing the sizes is worth at most.
 */
import { HeapPolicy } from './parts/heap-policy.ts';
import type { PolicyFamily, PolicyOptions } from './policy.ts';

const BYTES_PER_SLOT = 24;

/** A family with one policy: a simulation has no more. */
export function gdsfFamily(options: PolicyOptions): PolicyFamily {
  const metadataBytes = options.slotCount * BYTES_PER_SLOT;
  return { metadataBytes, create: () => new Gdsf(options.slotCount) };
}

/** Lowest age + hits / charge first. */
class Gdsf extends HeapPolicy {
  readonly name = 'gdsf';
  private readonly uses: Uint32Array;
  private age = 0;

  constructor(slotCount: number) {
    super(new Float64Array(slotCount));
    this.uses = new Uint32Array(slotCount);
  }

  insert(slot: number, charge: number, _keyHash: number): void {
    this.charge(slot, charge);
    this.uses[slot] = 0;
    this.use(slot, charge);
  }

  touch(slot: number): void {
    this.use(slot, this.chargeOf(slot, 'touch'));
  }

  override evict(): number {
    const { lowest } = this.heap;
    if (lowest !== -1) this.age = this.heap.keyOf(lowest);
    return super.evict();
  }

  private use(slot: number, charge: number): void {
    const uses = this.uses[slot]! + 1;
    this.uses[slot] = uses;
    this.heap.set(slot, this.age + uses / charge);
  }
}
