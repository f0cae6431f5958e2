import { describe, expect, it } from 'vitest';
import { POLICIES, POLICY_NAMES } from '../../src/policy/policies.ts';
import {
  type EvictionPolicy,
  MAX_CHARGE_BYTES,
  type PolicyFactory,
} from '../../src/policy/policy.ts';
import { S3FifoCwFamily } from '../../src/policy/s3fifo-cw.ts';
import { fc } from '../tools/seed.ts';

const SLOTS = 24;

type Event =
  | { readonly do: 'insert'; readonly slot: number; readonly charge: number }
  | { readonly do: 'touch'; readonly slot: number }
  | { readonly do: 'remove'; readonly slot: number }
  | { readonly do: 'evict' }
  | { readonly do: 'setCapacity'; readonly bytes: number };

const slots = fc.nat({ max: SLOTS - 1 });
const charges = fc.oneof(
  fc.integer({ min: 1, max: 5000 }),
  fc.integer({ min: 1, max: MAX_CHARGE_BYTES }),
  fc.constant(MAX_CHARGE_BYTES),
);
const capacities = fc.oneof(fc.nat({ max: 200_000 }), fc.nat({ max: 1e8 }));
const event: fc.Arbitrary<Event> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant('insert'), slot: slots, charge: charges }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('touch'), slot: slots }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('remove'), slot: slots }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('evict') }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('setCapacity'), bytes: capacities }) },
);

/** A map from resident slots to charges, told everything that the policy is told. */
class Model {
  readonly charges = new Map<number, number>();
  private readonly policy: EvictionPolicy;

  constructor(policy: EvictionPolicy) {
    this.policy = policy;
  }

  /** Applies the event where it makes sense, and demands that the policy refuses it elsewhere. */
  apply(event: Event): void {
    const { policy, charges } = this;
    if (event.do === 'evict') {
      this.evict();
      return;
    }
    if (event.do === 'setCapacity') {
      policy.setCapacity(event.bytes);
      return;
    }
    const isResident = charges.has(event.slot);
    const call = () => {
      if (event.do === 'insert') policy.insert(event.slot, event.charge, event.slot * 7919);
      else policy[event.do](event.slot);
    };
    if (isResident === (event.do === 'insert')) {
      expect(call).toThrow(`slot ${event.slot}`);
      return;
    }
    call();
    if (event.do === 'remove') charges.delete(event.slot);
    else if (event.do === 'insert') charges.set(event.slot, event.charge);
  }

  evict(): void {
    const victim = this.policy.evict();
    if (this.charges.size === 0) expect(victim).toBe(-1);
    else expect(this.charges.delete(victim)).toBe(true);
  }

  check(): void {
    expect(this.policy.count).toBe(this.charges.size);
    let bytes = 0;
    for (const charge of this.charges.values()) bytes += charge;
    expect(this.policy.chargedBytes).toBe(bytes);
  }
}

/** The defaults hardly promote among so few pages; this one promotes and sweeps all the time. */
const eager: PolicyFactory = (options) =>
  new S3FifoCwFamily(options, {
    windowShare: 0,
    windowMinInsertions: 0,
    clockBelowPages: 0,
    sweepLimit: 3,
  });
const CASES: readonly [string, PolicyFactory][] = [
  ...POLICY_NAMES.map((name): [string, PolicyFactory] => [name, POLICIES[name]]),
  ['s3fifo-cw, eager', eager],
];

describe.each(CASES)('the policy %s', (name, make) => {
  it('carries the name it is asked for by', () => {
    const policy = make({ slotCount: 1, capacityBytes: 1, hashOf: () => 0 }).create();
    expect(name.split(',')[0]).toBe(policy.name);
  });

  it('agrees with a map on what is resident, and evicts each resident page once', () => {
    const runs = fc.array(event, { maxLength: 300 });
    fc.assert(
      fc.property(runs, capacities, (events, capacityBytes) => {
        const hashOf = (slot: number) => slot * 7919;
        const policy = make({ slotCount: SLOTS, capacityBytes, hashOf }).create();
        const model = new Model(policy);
        for (const event of events) {
          model.apply(event);
          model.check();
        }
        while (model.charges.size > 0) model.evict();
        model.check();
        expect(policy.evict()).toBe(-1);
      }),
    );
  });

  it.each([-1, SLOTS, 0.5])('refuses slot %d, which it has no room for', (slot) => {
    const policy = make({ slotCount: SLOTS, capacityBytes: 1000, hashOf: () => 0 }).create();
    expect(() => policy.insert(slot, 1, 0)).toThrow('out of range');
    expect(() => policy.touch(slot)).toThrow('out of range');
  });

  it.each([0, -1, Number.NaN, MAX_CHARGE_BYTES + 1])('refuses a charge of %d bytes', (charge) => {
    const policy = make({ slotCount: SLOTS, capacityBytes: 1000, hashOf: () => 0 }).create();
    expect(() => policy.insert(0, charge, 0)).toThrow('charge');
    expect([policy.count, policy.chargedBytes]).toEqual([0, 0]);
  });

  it('counts metadata of the slots used so far, not of those reserved', () => {
    const family = make({ slotCount: 1e6, capacityBytes: 1e9, hashOf: () => 0 });
    const policies = [family.create(), family.create()];
    expect(family.metadataBytes).toBe(0);
    for (let slot = 0; slot < 100; slot++) policies[slot % 2]?.insert(slot, 4096, slot);
    expect(family.metadataBytes).toBeGreaterThan(0);
    // What the layers reckon with for a slot that was never used before, and a least sketch.
    expect(family.metadataBytes).toBeLessThanOrEqual(100 * 16 + 2048);
  });

  it('keeps policies of a family apart, and takes back what one that is released remembers', () => {
    const family = make({ slotCount: 1000, capacityBytes: 1000, hashOf: (slot) => slot });
    const [one, other] = [family.create(), family.create()];
    for (let slot = 0; slot < 500; slot++) {
      one.insert(slot, 1, slot);
      other.insert(500 + slot, 2, 500 + slot);
    }
    const before = family.metadataBytes;
    const victims = Array.from({ length: 500 }, () => one.evict());
    expect(new Set(victims)).toEqual(new Set(Array.from({ length: 500 }, (_, slot) => slot)));
    expect([one.evict(), one.count, one.chargedBytes]).toEqual([-1, 0, 0]);
    expect([other.count, other.chargedBytes]).toEqual([500, 1000]);
    one.release();
    expect(family.metadataBytes).toBeLessThanOrEqual(before);
  });
});
