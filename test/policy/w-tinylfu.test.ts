import { describe, expect, it } from 'vitest';
import { LruFamily } from '../../src/policy/lru.ts';
import { type WTinyLfuTuning, wTinyLfuFamily } from '../../src/policy/w-tinylfu.ts';
import { type StreamName, stream } from './golden-synthetic.ts';
import { type MakePolicy, missesOf, UnitCache } from './simulate.ts';

const by =
  (tuning: Partial<WTinyLfuTuning> = {}): MakePolicy =>
  (options) =>
    wTinyLfuFamily(options, tuning).create();
const lru: MakePolicy = (options) => new LruFamily(options).create();

describe('w-tinylfu', () => {
  it('hits most of a loop that lru misses all of', () => {
    const keys = stream('loop-1000');
    expect(missesOf(lru, keys, 500)).toBe(20_000);
    expect(missesOf(by(), keys, 500)).toBeLessThan(12_000);
  });

  it.each<[StreamName, number]>([
    ['skewed-20k', 1000],
    ['skewed-scan', 1000],
  ])('misses a tenth less than lru where some pages are wanted more: %s', (name, capacity) => {
    const keys = stream(name);
    expect(missesOf(by(), keys, capacity)).toBeLessThan(0.92 * missesOf(lru, keys, capacity));
  });

  it('keeps pages in use through a scan of ten times its size', () => {
    const cache = new UnitCache(by(), 1000);
    for (let round = 0; round < 10; round++) for (let key = 0; key < 500; key++) cache.request(key);
    for (let key = 10_000; key < 20_000; key++) cache.request(key);
    let kept = 0;
    for (let key = 0; key < 500; key++) if (cache.has(key)) kept++;
    expect(kept).toBeGreaterThan(475);
  });

  it('lets a window grow where recency pays', () => {
    const keys = stream('phases');
    const fixed = missesOf(by({ isAdaptive: false }), keys, 2500);
    expect(missesOf(by(), keys, 2500)).toBeLessThan(0.985 * fixed);
  });

  it('gives back what it counted with when it is released', () => {
    const family = wTinyLfuFamily({ slotCount: 100, capacityBytes: 100, hashOf: (slot) => slot });
    const policy = family.create();
    policy.insert(0, 1, 0);
    const before = family.metadataBytes;
    policy.evict();
    policy.release();
    expect(before - family.metadataBytes).toBe(8 * 64);
  });

  it('gives the same result each time', () => {
    const keys = stream('skewed-scan');
    expect(missesOf(by(), keys, 250)).toBe(missesOf(by(), keys, 250));
  });
});
