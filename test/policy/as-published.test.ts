import { describe, expect, it } from 'vitest';
import { POLICIES } from '../../src/policy/policies.ts';
import type { EvictionPolicy, PolicyFactory } from '../../src/policy/policy.ts';
import { fc } from '../tools/seed.ts';
import {
  ReferenceArc,
  type ReferenceCache,
  ReferenceLirs,
  ReferenceSieve,
} from './reference-policies.ts';

const KEYS = 60;
const SLOTS = 64;

/** A cache of keys over a policy, as a simulation has it. */
class KeyCache implements ReferenceCache {
  private readonly policy: EvictionPolicy;
  private readonly slotOfKey = new Map<number, number>();
  private readonly keyOfSlot = new Int32Array(SLOTS);
  private readonly freeSlots = Array.from({ length: SLOTS }, (_, slot) => slot);
  private pages: number;

  constructor(make: PolicyFactory, capacity: number) {
    const hashOf = (slot: number) => this.keyOfSlot[slot] ?? -1;
    const options = { slotCount: SLOTS, capacityBytes: capacity, hashOf, keyCount: KEYS };
    this.pages = capacity;
    this.policy = make(options).create();
  }

  set capacity(pages: number) {
    this.pages = pages;
    this.policy.setCapacity(pages);
  }

  request(key: number): boolean {
    const { policy, slotOfKey, freeSlots } = this;
    const hit = slotOfKey.get(key);
    if (hit !== undefined) {
      policy.touch(hit);
      return true;
    }
    policy.expect?.(key);
    while (policy.count >= this.pages) this.left(policy.evict());
    const slot = freeSlots.pop() ?? -1;
    this.keyOfSlot[slot] = key;
    slotOfKey.set(key, slot);
    policy.insert(slot, 1, key);
    return false;
  }

  remove(key: number): void {
    const slot = this.slotOfKey.get(key);
    if (slot === undefined) return;
    this.policy.remove(slot);
    this.left(slot);
  }

  private left(slot: number): void {
    this.slotOfKey.delete(this.keyOfSlot[slot] ?? -1);
    this.freeSlots.push(slot);
  }
}

const keys = fc.nat({ max: KEYS - 1 });
/** From two pages on: of one, LIRS has none that stay. */
const capacities = fc.integer({ min: 2, max: 50 });
const event = fc.oneof(
  { weight: 40, arbitrary: fc.record({ do: fc.constant('request' as const), key: keys }) },
  {
    weight: 40,
    arbitrary: fc.record({ do: fc.constant('request' as const), key: fc.nat({ max: 20 }) }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('remove' as const), key: keys }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('resize' as const), pages: capacities }) },
);

const CASES: readonly [string, PolicyFactory, new (capacity: number) => ReferenceCache][] = [
  ['arc', POLICIES.arc, ReferenceArc],
  ['lirs', POLICIES.lirs, ReferenceLirs],
  ['sieve', POLICIES.sieve, ReferenceSieve],
];

describe.each(CASES)('%s', (_, make, Reference) => {
  it('hits as its paper does, also where pages are removed and the capacity changes', () => {
    const events = fc.array(event, { minLength: 100, maxLength: 500, size: 'max' });
    fc.assert(
      fc.property(events, capacities, (run, capacity) => {
        const caches = [new KeyCache(make, capacity), new Reference(capacity)] as const;
        const hits = caches.map((cache) =>
          run.map((each) => {
            if (each.do === 'request') return cache.request(each.key);
            if (each.do === 'remove') cache.remove(each.key);
            else cache.capacity = each.pages;
            return undefined;
          }),
        );
        expect(hits[0]).toEqual(hits[1]);
      }),
      { numRuns: 200 },
    );
  });
});
