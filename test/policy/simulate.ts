/** A cache of unit-size pages over a policy: keys in, misses out. */
import type { Ghost } from '../../src/policy/parts/ghost.ts';
import type { EvictionPolicy, PolicyOptions } from '../../src/policy/policy.ts';

/** Odd, so that distinct keys keep distinct hashes. */
const HASH_FACTOR = 0x9e3779b1;

/** Makes the one policy of a cache. */
export type MakePolicy = (options: PolicyOptions) => EvictionPolicy;

export class UnitCache {
  misses = 0;
  readonly policy: EvictionPolicy;
  private readonly slotByKey = new Map<number, number>();
  private readonly keyBySlot: Uint32Array;

  constructor(make: MakePolicy, capacity: number) {
    this.keyBySlot = new Uint32Array(capacity);
    this.policy = make({
      slotCount: capacity,
      capacityBytes: capacity,
      hashOf: (slot) => Math.imul(this.keyBySlot[slot]!, HASH_FACTOR) >>> 0,
    });
  }

  has(key: number): boolean {
    return this.slotByKey.has(key);
  }

  /** Whether the key hit; a miss admits it in the slot of the victim. */
  request(key: number): boolean {
    const hit = this.slotByKey.get(key);
    if (hit !== undefined) {
      this.policy.touch(hit);
      return true;
    }
    this.misses++;
    let slot = this.slotByKey.size;
    if (slot === this.keyBySlot.length) {
      slot = this.policy.evict();
      this.slotByKey.delete(this.keyBySlot[slot]!);
    }
    this.slotByKey.set(key, slot);
    this.keyBySlot[slot] = key;
    this.policy.insert(slot, 1, Math.imul(key, HASH_FACTOR) >>> 0);
    return false;
  }
}

/** Misses of a stream of keys in a cache of `capacity` pages. */
export function missesOf(make: MakePolicy, keys: Uint32Array, capacity: number): number {
  const cache = new UnitCache(make, capacity);
  for (const key of keys) cache.request(key);
  return cache.misses;
}

/**
 * An exact FIFO of departures. The victim of an insertion is recorded before the new page asks
 * for its own ghost, so the oldest ghost is let go only after the question.
 */
export class ExactGhost implements Ghost {
  readonly metadataBytes = 0;
  private readonly hashes = new Set<number>();
  private entries = 0;

  setEntries(entries: number): void {
    this.entries = entries;
  }

  add(keyHash: number): void {
    this.hashes.add(keyHash);
  }

  release(): void {
    this.hashes.clear();
  }

  take(keyHash: number): boolean {
    const isKnown = this.hashes.delete(keyHash);
    for (const oldest of this.hashes) {
      if (this.hashes.size <= this.entries) break;
      this.hashes.delete(oldest);
    }
    return isKnown;
  }
}
