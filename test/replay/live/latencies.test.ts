import { expect, test } from 'vitest';
import { Latencies } from '../../../src/replay/live/latencies.ts';
import { fc } from '../../tools/seed.ts';

test('percentiles are those of the sorted values, to 1 part in 64', () => {
  const values = fc.array(fc.double({ min: 0.1, max: 1e9, noNaN: true }), { minLength: 1 });
  fc.assert(
    fc.property(values, (list) => {
      const latencies = new Latencies();
      for (const each of list) latencies.record(each);
      const sorted = list.toSorted((a, b) => a - b);
      const { p50, p99, max, mean } = latencies.percentiles();
      for (const [found, share] of [
        [p50, 0.5],
        [p99, 0.99],
      ] as const) {
        const exact = sorted[Math.ceil(list.length * share) - 1] ?? 0;
        // Rounded to tenths besides.
        expect(found).toBeGreaterThanOrEqual(exact * (1 - 1e-9) - 0.05);
        expect(found).toBeLessThanOrEqual(exact * 2 ** (1 / 64) + 0.05);
      }
      expect(max).toBeCloseTo(sorted.at(-1) ?? 0, 0);
      expect(mean).toBeLessThanOrEqual(max + 0.1);
    }),
    { numRuns: 200 },
  );
});

test('of nothing all percentiles are 0', () => {
  expect(new Latencies().percentiles()).toEqual({
    p50: 0,
    p90: 0,
    p99: 0,
    p999: 0,
    max: 0,
    mean: 0,
  });
});
