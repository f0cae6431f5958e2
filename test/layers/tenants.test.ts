import { describe, expect, it } from 'vitest';
import { type Tenant, Tenants } from '../../src/layers/tenants.ts';
import { LruFamily } from '../../src/policy/lru.ts';
import type { EvictionPolicy, PolicyFamily } from '../../src/policy/policy.ts';
import { Account, type AccountShare } from '../../src/tmem/account.ts';

const LIMIT = 10_000;

/** Policies that tell the capacity they were given last, and whether they were released. */
class Family implements PolicyFamily {
  readonly metadataBytes = 0;
  readonly capacities = new Map<EvictionPolicy, number>();
  readonly released = new Set<EvictionPolicy>();
  readonly #lru = new LruFamily({ slotCount: 1000, capacityBytes: LIMIT, hashOf: () => 0 });

  create(): EvictionPolicy {
    const policy = this.#lru.create();
    policy.setCapacity = (bytes) => this.capacities.set(policy, bytes);
    policy.release = () => this.released.add(policy);
    return policy;
  }
}

class Layer {
  readonly family = new Family();
  readonly tenants = new Tenants(this.family, LIMIT);
  #slot = 0;

  /** One with `bytes` in this layer, all of which may leave. */
  join(bytes: number, share: AccountShare = {}): Tenant {
    const tenant = this.tenants.join(new Account({ name: 'a', ...share }));
    this.grow(tenant, bytes);
    return tenant;
  }

  grow(tenant: Tenant, bytes: number): void {
    tenant.policy.insert(this.#slot++, bytes, 0);
    tenant.charge(bytes);
  }

  capacityOf(tenant: Tenant): number | undefined {
    return this.family.capacities.get(tenant.policy);
  }
}

describe('who gives when room is needed', () => {
  it('is who is furthest above its share of what is held', () => {
    const layer = new Layer();
    const [a, b, c] = [layer.join(3000, { weight: 300 }), layer.join(1300), layer.join(1200)];
    layer.tenants.join(new Account({ name: 'without pages', weight: 5000 })); // has no share
    expect(layer.tenants.choose(a)).toBe(b); // 5500 bytes: shares of 3300, 1100 and 1100
    layer.grow(c, 200);
    expect(layer.tenants.choose(a)).toBe(c);
    layer.grow(a, 5000);
    expect([a, b, c].map((asking) => layer.tenants.choose(asking))).toEqual([a, a, a]);
  });

  it('is who is above its cap, before all others', () => {
    const layer = new Layer();
    const [large, capped] = [layer.join(5000), layer.join(100, { capBytes: 50 })];
    expect(layer.tenants.choose(large)).toBe(capped);
    capped.account.setShare({ capBytes: 100 });
    expect(layer.tenants.choose(large)).toBe(large);
    const first = layer.join(3000, { capBytes: 2900 });
    expect(layer.tenants.choose(capped)).toBe(first);
    const further = layer.join(400, { capBytes: 250 });
    expect(layer.tenants.choose(capped)).toBe(further);
    const free = layer.join(9000);
    expect(layer.tenants.choose(free)).toBe(further);
  });

  it('is not who has its minimum or less, unless all that need room have no more than theirs', () => {
    const layer = new Layer();
    const kept = layer.join(5000, { minimumBytes: 5000 });
    const other = layer.join(100);
    expect(layer.tenants.choose(kept)).toBe(other);
    other.policy.evict(); // what it has left is persistent, say
    expect(layer.tenants.choose(other)).toBeUndefined();
    expect(layer.tenants.choose(kept)).toBe(kept);
    expect(layer.tenants.choose(undefined)).toBe(kept);
    other.account.setShare({ minimumBytes: 100 });
    expect(layer.tenants.choose(other)).toBe(kept);
    layer.grow(kept, 1);
    expect(layer.tenants.choose(other)).toBe(kept);
  });

  it('is somebody else when the first turned out to have nothing', () => {
    const layer = new Layer();
    const [first, second, third] = [layer.join(3000), layer.join(2000), layer.join(1000)];
    expect(layer.tenants.choose(third)).toBe(first);
    layer.tenants.noteStuck(first);
    expect(layer.tenants.choose(third)).toBe(second);
    layer.tenants.noteStuck(second);
    expect(layer.tenants.choose(third)).toBe(third);
    layer.tenants.noteStuck(third);
    expect(layer.tenants.choose(third)).toBeUndefined();
    layer.tenants.forgetStuck();
    expect(layer.tenants.choose(third)).toBe(first);
    layer.tenants.noteStuck(third);
    expect(layer.tenants.choose(third)).toBe(first);
    layer.tenants.forgetStuck();
    expect(layer.tenants.isAnyStuck).toBe(false);
    for (const each of [first, second, third]) {
      each.account.setShare({ minimumBytes: each.usedBytes });
    }
    expect(layer.tenants.choose(undefined)).toBe(first);
    layer.tenants.noteStuck(first); // it may give later: till then minimums stay
    expect(layer.tenants.choose(undefined)).toBeUndefined();
  });

  it('is also one below its share, where nobody else has pages that may leave', () => {
    const layer = new Layer();
    const [large, small] = [layer.join(5000), layer.join(100, { minimumBytes: 100 })];
    large.policy.evict(); // what it has left is persistent, say
    expect(layer.tenants.choose(undefined)).toBe(small);
    expect(layer.tenants.owing).toBe(large);
  });

  it('is told besides who would give, had it anything that may leave', () => {
    const layer = new Layer();
    const [large, small, asking] = [layer.join(5000), layer.join(1000), layer.join(500)];
    layer.tenants.choose(asking);
    expect(layer.tenants.owing).toBeUndefined();
    large.policy.evict(); // what it has left is persistent, say
    expect(layer.tenants.choose(asking)).toBe(small);
    expect(layer.tenants.owing).toBe(large);
    large.account.setShare({ minimumBytes: 5000 });
    layer.tenants.choose(asking);
    expect(layer.tenants.owing).toBeUndefined();
  });

  it('owes nothing if it has nothing here; of several the one furthest above its share owes', () => {
    const layer = new Layer();
    layer.tenants.join(new Account({ name: 'empty', weight: 1 }));
    expect(layer.tenants.choose(undefined)).toBeUndefined();
    expect(layer.tenants.owing).toBeUndefined();
    const held = [2000, 6000, 5000].map((bytes) => layer.join(bytes));
    for (const { policy } of held) policy.evict();
    expect(layer.tenants.choose(undefined)).toBeUndefined();
    expect(layer.tenants.owing).toBe(held[1]);
    held[0]?.account.setShare({ capBytes: 1000 });
    layer.tenants.choose(undefined);
    expect(layer.tenants.owing).toBe(held[0]);
  });

  it('is found anew, among many, after some victims, for others who ask and after one left', () => {
    const layer = new Layer();
    const many = Array.from({ length: 64 }, (_, i) => layer.join(100 + i));
    const [one, other] = many;
    const last = many.at(-1);
    expect(layer.tenants.choose(one)).toBe(last);
    const larger = layer.join(1000);
    expect(layer.tenants.choose(one)).toBe(larger);
    larger.policy.evict();
    expect(layer.tenants.choose(one)).toBe(last);
    if (other === undefined) return;
    layer.grow(other, 5000);
    const choices = Array.from({ length: 5 }, () => layer.tenants.choose(one));
    expect([choices[0], choices.at(-1)]).toEqual([last, other]);
    layer.tenants.leave(other);
    expect(layer.tenants.choose(one)).toBe(last);
  });

  it('is not held on to for another who asks, nor once one was stuck or has joined', () => {
    const layer = new Layer();
    const many = Array.from({ length: 64 }, (_, i) => layer.join(100 + i));
    const [kept, one, other] = many;
    const last = many.at(-1);
    if (kept === undefined || one === undefined || last === undefined) return;
    expect(layer.tenants.choose(one)).toBe(last);
    layer.grow(kept, 5000);
    expect(layer.tenants.choose(other)).toBe(kept);
    layer.tenants.noteStuck(kept);
    expect(layer.tenants.choose(other)).toBe(last);
    layer.tenants.forgetStuck();
    expect(layer.tenants.choose(other)).toBe(kept);
    const larger = layer.join(9000);
    expect(layer.tenants.choose(other)).toBe(larger);
  });
});

describe('accounts that are above their caps', () => {
  it('take turns, those that have something to give', () => {
    const layer = new Layer();
    expect(layer.tenants.aboveCap()).toBeUndefined();
    const capped = (bytes: number): Tenant => layer.join(bytes, { capBytes: 100 });
    const [a, , b, emptied, filled] = [
      capped(200),
      capped(100),
      capped(101),
      capped(300),
      capped(300),
    ];
    emptied.policy.evict(); // what it has left is persistent, say
    filled.policy.evict();
    filled.filledCount = 1;
    const turns = Array.from({ length: 6 }, () => layer.tenants.aboveCap());
    expect(new Set(turns.slice(0, 3))).toEqual(new Set([a, b, filled]));
    expect(turns.slice(3)).toEqual(turns.slice(0, 3));
    layer.tenants.leave(filled);
    layer.tenants.leave(emptied);
    b.account.setShare({ capBytes: 101 });
    expect([layer.tenants.aboveCap(), layer.tenants.aboveCap()]).toEqual([a, a]);
    a.account.setShare({ capBytes: 200 });
    expect(layer.tenants.aboveCap()).toBeUndefined();
  });
});

describe('the policy of an account', () => {
  it('may fill the layer alone, and has queues by what it holds among others', () => {
    const layer = new Layer();
    const a = layer.join(700);
    layer.tenants.size(a);
    expect(layer.capacityOf(a)).toBe(LIMIT);
    layer.tenants.setLimit(5000);
    expect(layer.capacityOf(a)).toBe(5000);
    const b = layer.join(300);
    layer.tenants.size(a);
    layer.tenants.size(b);
    expect([layer.capacityOf(a), layer.capacityOf(b)]).toEqual([700, 300]);
    layer.tenants.setLimit(6000);
    expect([layer.capacityOf(a), layer.capacityOf(b)]).toEqual([700, 300]);
    layer.tenants.setLimit(5000);
    layer.tenants.leave(b);
    expect(layer.capacityOf(a)).toBe(5000);
  });

  it('is one for all its pools, and is given back with the last of them', () => {
    const layer = new Layer();
    const tenant = layer.join(100);
    expect(layer.tenants.join(tenant.account)).toBe(tenant);
    layer.tenants.leave(tenant);
    expect([layer.tenants.count, layer.family.released.size]).toEqual([1, 0]);
    layer.tenants.leave(tenant);
    expect([layer.tenants.count, layer.family.released.size]).toEqual([0, 1]);
    expect(layer.tenants.choose(undefined)).toBeUndefined();
  });
});
