import { describe, expect, test } from 'vitest';
import { StackDistances, stackDistancesOf } from '../../../src/replay/curves/lru-curve.ts';
import { fc } from '../../tools/seed.ts';
import { synthetics } from './streams.ts';

/** Misses of LRU by pages of capacity, counted by independent programs. */
const KNOWN_MISSES: Readonly<Record<string, Readonly<Record<number, number>>>> = {
  'loop-1000': { 250: 20_000, 500: 20_000, 1000: 1000, 2500: 1000 },
  'uniform-10k': { 250: 195_012, 500: 190_014, 1000: 180_115, 2500: 150_552 },
  'skewed-20k': { 250: 177_409, 500: 167_865, 1000: 154_543, 2500: 128_036 },
  'skewed-scan': { 250: 211_454, 500: 200_047, 1000: 185_002, 2500: 162_215 },
  phases: { 250: 181_204, 500: 167_620, 1000: 145_483, 2500: 96_193 },
};

/** LRU as it is written in a textbook; a page below zero invalidates page `-page - 1`. */
function lruHits(events: readonly number[], capacity: number): number {
  const resident = new Set<number>();
  let hits = 0;
  for (const page of events) {
    if (page < 0) {
      resident.delete(-page - 1);
      continue;
    }
    if (resident.delete(page)) hits++;
    resident.add(page);
    const oldest = resident.values().next().value;
    if (resident.size > capacity && oldest !== undefined) resident.delete(oldest);
  }
  return hits;
}

describe('the exact LRU curve', () => {
  for (const { name, ids, pageCount } of synthetics()) {
    test(`has the known misses of ${name}`, () => {
      const curve = stackDistancesOf({ ids, pageCount });
      const misses = Object.keys(KNOWN_MISSES[name] ?? {}).map((pages) => [
        pages,
        ids.length - curve.hitsAt(Number(pages)),
      ]);
      expect(Object.fromEntries(misses)).toEqual(KNOWN_MISSES[name]);
      expect(curve.coldMisses).toBe(pageCount);
      expect(curve.missRatioAt(pageCount)).toBeCloseTo(pageCount / ids.length, 12);
    });
  }

  test('is that of LRU at every size, whatever the stream', () => {
    const streams = fc.array(fc.integer({ min: 0, max: 11 }), { maxLength: 200 });
    fc.assert(
      fc.property(streams, fc.integer({ min: 1, max: 13 }), (pages, capacity) => {
        const curve = stackDistancesOf({ ids: Int32Array.from(pages), pageCount: 12 });
        expect(curve.hitsAt(capacity)).toBe(lruHits(pages, capacity));
      }),
      { numRuns: 300 },
    );
  });

  test('stays so when times are renumbered many times', () => {
    const pages = Array.from({ length: 20_000 }, (_, at) => (at * at * 7 + (at >> 3)) % 41);
    const curve = stackDistancesOf({ ids: Int32Array.from(pages), pageCount: 41 });
    const sizes = Array.from({ length: 42 }, (_, size) => size + 1);
    expect(sizes.map((size) => curve.hitsAt(size))).toEqual(
      sizes.map((size) => lruHits(pages, size)),
    );
  });

  test('counts what was invalidated as a miss in a cache that holds everything', () => {
    const ids = Int32Array.of(0, 1, 2, 0, 1, 0, 0, 1, 2);
    const curve = stackDistancesOf({
      ids,
      pageCount: 3,
      ops: 'writes-invalidate',
      writeBits: Int32Array.of(1 << 5),
    });
    expect(curve.references).toBe(8);
    expect(curve.coldMisses).toBe(4);
    expect(curve.hitsAt(3)).toBe(4);
    expect(curve.hitsAt(2)).toBe(1);
  });

  test('of no references has no misses, and no cache hits nothing', () => {
    expect(new StackDistances(0).missRatioAt(10)).toBe(0);
    expect(stackDistancesOf({ ids: Int32Array.of(0, 0), pageCount: 1 }).missRatioAt(0)).toBe(1);
    expect(stackDistancesOf({ ids: Int32Array.of(0, 0), pageCount: 1 }).missRatioAt(0.9)).toBe(1);
  });
});
