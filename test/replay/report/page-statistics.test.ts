import { expect, test } from 'vitest';
import { type PageReferences, stackDistancesOf } from '../../../src/replay/curves/lru-curve.ts';
import { interpolated } from '../../../src/replay/report/interpolation.ts';
import {
  footprintOverTime,
  popularityOf,
  reuseDistancesOf,
  unavoidableMisses,
} from '../../../src/replay/report/page-statistics.ts';
import { tiersOf } from '../../../src/replay/report/tiers.ts';

const STREAM = { ids: Int32Array.of(0, 1, 0, 2, 0, 0, 3, 1), pageCount: 4 };
/** The third access drops page 0, which the fifth uses next. */
const DROPPED: PageReferences = {
  ...STREAM,
  ops: 'writes-invalidate',
  writeBits: Int32Array.of(1 << 2),
};

test('the footprint grows with first uses only', () => {
  expect(footprintOverTime(STREAM, 4)).toEqual([
    { x: 0, y: 0 },
    { x: 2, y: 2 },
    { x: 4, y: 3 },
    { x: 6, y: 3 },
    { x: 8, y: 4 },
  ]);
});

test('popularity counts uses by rank, and leaves out drops', () => {
  const { byRank, topShares, usedOnce } = popularityOf(STREAM);
  expect(byRank.map(({ y }) => y)).toEqual([4, 2, 1, 1]);
  expect(usedOnce).toBe(0.5);
  expect(topShares.map(({ accesses }) => accesses)).toEqual([0.5, 0.5, 0.75]);
  expect(popularityOf(DROPPED).byRank[0]).toEqual({ x: 1, y: 3 });
});

test('unavoidable are first uses, and the first after a drop, from the end of the warm-up on', () => {
  expect([0, 1, 8].map((warmup) => unavoidableMisses(STREAM, warmup))).toEqual([4, 3, 0]);
  expect([0, 4, 5].map((warmup) => unavoidableMisses(DROPPED, warmup))).toEqual([5, 2, 1]);
  const { coldMisses } = stackDistancesOf(DROPPED);
  expect(unavoidableMisses(DROPPED, 0)).toBe(coldMisses);
});

test('ranks of many pages are few, from the first to the last', () => {
  const ids = Int32Array.from({ length: 10_000 }, (_, at) => at);
  const { byRank, usedOnce } = popularityOf({ ids, pageCount: 10_000 });
  expect(byRank.at(0)?.x).toBe(1);
  expect(byRank.at(-1)).toEqual({ x: 10_000, y: 1 });
  expect(byRank.length).toBeLessThan(60);
  expect(usedOnce).toBe(1);
});

test('reuse distances and first uses make up all references', () => {
  const { bars, cold } = reuseDistancesOf(stackDistancesOf(STREAM));
  expect(cold).toBe(0.5);
  expect(bars.map(({ pagesMax }) => pagesMax)).toEqual([1, 2, 4]);
  expect(bars.map(({ share }) => share * 8)).toEqual([1, 2, 1]);
});

test('a curve is interpolated between its points, from 1 at no pages', () => {
  const points = [
    { pages: 10, missRatio: 0.5 },
    { pages: 20, missRatio: 0.3 },
  ];
  const at = (pages: number) => Number(interpolated(points, pages).toFixed(9));
  expect([at(0), at(5), at(10), at(15), at(20), at(99)]).toEqual([1, 0.75, 0.5, 0.4, 0.3, 0.3]);
});

test('tiers hold what their bytes hold, and answer all but what misses', () => {
  const curve = [
    { pages: 100, missRatio: 0.6 },
    { pages: 1000, missRatio: 0.2 },
  ];
  const shape = { pageBytes: 4096, hotShare: 0.25, compressionRatio: 4 };
  const tiers = tiersOf(4160 * 400, curve, shape);
  expect(tiers.hotPages).toBe(100);
  expect(tiers.compressedPages).toBe(Math.floor((4160 * 300) / 1088));
  expect(tiers.hotHits).toBeCloseTo(0.4, 9);
  expect(tiers.hotHits + tiers.compressedHits + tiers.flashHits).toBeCloseTo(0.8, 9);
  expect(tiers.flashPages).toBe(tiers.compressedPages * 4);
});
