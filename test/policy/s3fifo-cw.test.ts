import { describe, expect, it } from 'vitest';
import { LruFamily } from '../../src/policy/lru.ts';
import { S3FIFO_CW_DEFAULTS, S3FifoCwFamily } from '../../src/policy/s3fifo-cw.ts';
import { stream } from './golden-synthetic.ts';
import { type MakePolicy, missesOf, UnitCache } from './simulate.ts';

const CAPACITY = 1000;
const HOT_PAGES = 500;

/** Of a hot set in use, the share still there after a scan of ten capacities. */
function survivalOf(make: MakePolicy, touchesPerScannedPage: number): number {
  const cache = new UnitCache(make, CAPACITY);
  for (let round = 0; round < 10; round++) {
    for (let key = 0; key < HOT_PAGES; key++) cache.request(key);
    for (let i = 0; i < 200; i++) cache.request(1_000_000 + round * 200 + i);
  }
  for (let i = 0; i < 10 * CAPACITY; i++) {
    for (let touch = 0; touch < touchesPerScannedPage; touch++) cache.request(2_000_000 + i);
  }
  let hits = 0;
  for (let key = 0; key < HOT_PAGES; key++) if (cache.has(key)) hits++;
  return hits / HOT_PAGES;
}

const s3fifoCw: MakePolicy = (options) => new S3FifoCwFamily(options).create();

describe('scan resistance of s3fifo-cw', () => {
  it.each([1, 2, 8])(
    'keeps 19 in 20 hot pages when a scan touches its pages %d times',
    (touches) => {
      expect(survivalOf(s3fifoCw, touches)).toBeGreaterThanOrEqual(0.95);
    },
  );

  it('is what lru lacks: there the same scan leaves nothing', () => {
    expect(survivalOf((options) => new LruFamily(options).create(), 1)).toBe(0);
  });

  it('comes from the window where the scan touches pages twice', () => {
    const noWindow: MakePolicy = (options) =>
      new S3FifoCwFamily(options, { windowShare: 0, windowMinInsertions: 0 }).create();
    expect(survivalOf(noWindow, 2)).toBeLessThan(0.5);
  });
});

describe('s3fifo-cw', () => {
  const options = { slotCount: 2000, capacityBytes: 1000, hashOf: (slot: number) => slot };
  const exactWindow = { windowMinInsertions: 0, windowShare: 0.25 }; // 25 of 100 small pages

  it('counts a hit once as many pages came in as the window says, not one earlier', () => {
    const survives = (insertionsBetween: number) => {
      const policy = new S3FifoCwFamily(options, exactWindow).create();
      policy.insert(0, 1, 0);
      for (let slot = 1; slot <= insertionsBetween; slot++) policy.insert(slot, 1, slot);
      policy.touch(0);
      return policy.evict() !== 0;
    };
    expect(survives(24)).toBe(false);
    expect(survives(25)).toBe(true);
  });

  it('shortens the window by hits, unless it is to be exact', () => {
    const survives = (hitsBetween: number, keyCount?: number) => {
      const exact = keyCount === undefined ? {} : { keyCount };
      const policy = new S3FifoCwFamily({ ...options, ...exact }, exactWindow).create();
      policy.insert(0, 1, 0);
      policy.insert(1, 1, 1);
      for (let hit = 0; hit < hitsBetween; hit++) policy.touch(1);
      policy.touch(0);
      return policy.evict() !== 0;
    };
    expect(survives(24 * 8 - 2)).toBe(false);
    expect(survives(24 * 8 - 1)).toBe(true);
    expect(survives(100_000, 2)).toBe(false);
  });

  it('measures the window in pages, whatever they charge', () => {
    const policy = new S3FifoCwFamily(
      { ...options, capacityBytes: 3_000_000 },
      exactWindow,
    ).create();
    for (let slot = 0; slot <= 24; slot++) policy.insert(slot, 3000, slot);
    policy.touch(0);
    expect(policy.evict()).toBe(0);
    policy.insert(25, 3000, 25);
    policy.insert(26, 3000, 26);
    policy.touch(1);
    expect(policy.evict()).toBe(2);
  });

  it('lets a page that returns as a ghost stay while newer pages leave', () => {
    const policy = new S3FifoCwFamily(options).create();
    for (let slot = 0; slot < 50; slot++) policy.insert(slot, 1, slot);
    expect(policy.evict()).toBe(0);
    policy.insert(0, 1, 0);
    const victims = Array.from({ length: 49 }, () => policy.evict());
    expect(victims).not.toContain(0);
    expect(policy.evict()).toBe(0);
  });

  it('takes from main only while main holds more bytes than its share', () => {
    const victimWithMainAt = (bytes: number) => {
      const policy = new S3FifoCwFamily(options, {
        windowShare: 0,
        windowMinInsertions: 0,
        clockBelowPages: 0,
      }).create();
      for (let slot = 0; slot < 100; slot++) {
        policy.insert(slot, slot === 0 ? bytes - 99 : 1, slot);
        policy.touch(slot);
      }
      policy.insert(100, 1, 100);
      expect(policy.evict()).toBe(100); // the used ones moved on to main
      policy.insert(101, 1, 101);
      return policy.evict();
    };
    expect(victimWithMainAt(900)).toBe(101);
    expect(victimWithMainAt(901)).toBe(0);
  });

  it('looks at a bounded number of pages however many were used', () => {
    const policy = new S3FifoCwFamily({
      slotCount: 20_000,
      capacityBytes: 20_000,
      hashOf: () => 0,
    }).create();
    for (let slot = 0; slot < 20_000; slot++) policy.insert(slot, 1, slot);
    for (let slot = 0; slot < 19_000; slot++) for (let i = 0; i < 3; i++) policy.touch(slot);
    for (let i = 0; i < 1000; i++) {
      const before = policy.sweptCount;
      expect(policy.evict()).toBeGreaterThanOrEqual(0);
      expect(policy.sweptCount - before).toBeLessThanOrEqual(2 * S3FIFO_CW_DEFAULTS.sweepLimit);
    }
  });

  it('settles for the coldest page it saw when all it may look at were used', () => {
    const policy = new S3FifoCwFamily(options, { clockBelowPages: 2000, sweepLimit: 4 }).create();
    for (let slot = 0; slot < 10; slot++) {
      policy.insert(slot, 1, slot);
      for (let hits = slot === 2 ? 1 : 3; hits > 0; hits--) policy.touch(slot);
    }
    expect(policy.evict()).toBe(2);
  });

  it('costs at most 18 bytes a page, ghosts included', () => {
    const families: S3FifoCwFamily[] = [];
    const cache = new UnitCache((options) => {
      const family = new S3FifoCwFamily(options);
      families.push(family);
      return family.create();
    }, 5000);
    for (const key of stream('uniform-10k')) cache.request(key);
    expect(cache.policy.count).toBe(5000);
    const metadataBytes = families[0]?.metadataBytes;
    expect(metadataBytes).toBeGreaterThan(13 * 5000);
    expect(metadataBytes).toBeLessThanOrEqual(18 * 5000);
  });

  it.each([1, 2, 9, 31])('works as a plain cache when only %d pages fit', (capacity) => {
    const keys = stream('skewed-20k').subarray(0, 20_000);
    const lru = missesOf((options) => new LruFamily(options).create(), keys, capacity);
    expect(missesOf(s3fifoCw, keys, capacity)).toBeLessThanOrEqual(1.01 * lru);
  });
});
