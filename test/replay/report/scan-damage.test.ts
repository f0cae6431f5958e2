import { expect, test } from 'vitest';
import { simulate } from '../../../src/replay/engine/simulate.ts';
import { damageOf, withScan } from '../../../src/replay/report/scan-damage.ts';
import { pageStreamOf } from '../curves/page-streams.ts';

const HOT = pageStreamOf({
  name: 'hot',
  ids: Int32Array.from({ length: 20_000 }, (_, at) => (at * 7) % 100),
  pageCount: 100,
});

test('a scan stands in the middle, its pages are nowhere else, and the rest stays as it is', () => {
  const ids = Int32Array.of(0, 1, 0, 2, 1, 3);
  const writeBits = Int32Array.of(0b101001);
  const stream = { ...pageStreamOf({ name: 'tiny', ids, pageCount: 4 }), writeBits };
  const scanned = withScan(stream, 2, 2);
  expect([...scanned.ids]).toEqual([0, 1, 0, 2, 2, 3, 3, 4, 1, 5]);
  expect(scanned.writeBits?.[0]).toBe(0b1010000001);
  expect([scanned.requestCount, scanned.accessCount, scanned.pageCount]).toEqual([10, 10, 6]);
  expect([scanned.numberOfPage[1], scanned.numberOfPage[4]]).toEqual([1, 2]);
  expect(new Set(scanned.numberOfPage).size).toBe(6);
});

test('a scan costs LRU its whole cache once, and a policy that resists scans nothing', () => {
  const damage = (policy: string, touches: number) => {
    const run = { policy, capacityPages: 100 };
    return damageOf(
      simulate(HOT, run),
      simulate(withScan(HOT, 200, touches), run),
      200,
      run.capacityPages,
    );
  };
  expect(damage('lru', 1)).toBe(1);
  expect(damage('lru', 2)).toBe(1);
  expect(damage('s3fifo-cw', 1)).toBeLessThanOrEqual(0.1);
  expect(damage('s3fifo-cw', 2)).toBeLessThanOrEqual(0.1);
});
