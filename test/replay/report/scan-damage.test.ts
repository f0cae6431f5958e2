import { expect, test } from 'vitest';
import { simulate } from '../../../src/replay/engine/simulate.ts';
import { damageOf, withScan } from '../../../src/replay/report/scan-damage.ts';
import { pageStreamOf } from '../curves/page-streams.ts';

const HOT = pageStreamOf({
  name: 'hot',
  ids: Int32Array.from({ length: 20_000 }, (_, at) => (at * 7) % 100),
  pageCount: 100,
});

test('a scan is in the middle, leaves no trace in the counts, and pushes out what was there', () => {
  const ids = Int32Array.of(0, 1, 0, 0, 1, 2);
  const stream = pageStreamOf({ name: 'tiny', ids, pageCount: 3 });
  const run = { policy: 'lru', capacityPages: 2 };
  const scanned = simulate(stream, withScan(run, run.capacityPages, 2));
  // Without it the misses are 0, 1 and 2; with it 0 and 1 have to come back.
  expect(scanned).toMatchObject({ requests: 6, hits: 1, misses: 5, coldMisses: 3 });
  expect(scanned.timeSeries.requests).toEqual([1, 1, 1, 1, 1, 1]);
  const one = simulate(stream, { ...run, scan: { pages: 1, touches: 1 } });
  expect(one).toMatchObject({ requests: 6, hits: 2, misses: 4, coldMisses: 3 });
});

test('a scan costs LRU its whole cache once, and a policy that resists scans nothing', () => {
  const damage = (policy: string, touches: number) => {
    const run = { policy, capacityPages: 100 };
    const scanned = simulate(HOT, withScan(run, run.capacityPages, touches));
    return damageOf(simulate(HOT, run), scanned, run.capacityPages);
  };
  expect(damage('lru', 1)).toBe(1);
  expect(damage('lru', 2)).toBe(1);
  expect(damage('s3fifo-cw', 1)).toBeLessThanOrEqual(0.1);
  expect(damage('s3fifo-cw', 2)).toBeLessThanOrEqual(0.1);
});
