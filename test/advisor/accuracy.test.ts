import { describe, expect, test } from 'vitest';
import { pageHash, spreadHash } from '../../src/curves/page-hash.ts';
import { FixedSizeShards } from '../../src/curves/shards.ts';
import { stackDistancesOf } from '../../src/replay/curves/lru-curve.ts';
import { evenSizes, meanAbsoluteError } from '../curves/errors.ts';
import { advisorOf, readAll, roomFor, STREAMS, streamAndTruth } from './advised.ts';

const SHADOW_ERROR_MAX = 0.015;
const CURVE_ERROR_MAX = 0.02;
const RATE = 1 / 16;

describe.each(['s3fifo-cw', 'lru', 'lirs'] as const)('shadows of %s', (policy) => {
  test(`at a rate of 1/16 err by at most ${SHADOW_ERROR_MAX} on average`, async () => {
    const errors: number[] = [];
    let insideCount = 0;
    for (const name of STREAMS) {
      const { keys, truth, pageCount } = await streamAndTruth(name);
      for (const shadowPages of [256, 512, 1024]) {
        const capacityPages = shadowPages / RATE / 4;
        if (capacityPages > pageCount) continue;
        const advisor = advisorOf(policy, roomFor(capacityPages), shadowPages);
        readAll(advisor, keys);
        const { sizes, rate } = advisor.report();
        expect(rate).toBe(RATE);
        for (const { pages, missRatio, low, high } of sizes) {
          const real = truth(policy, pages);
          errors.push(Math.abs(missRatio - real));
          if (real >= low && real <= high) insideCount++;
        }
      }
    }
    expect(errors.length).toBeGreaterThan(40);
    const mean = errors.reduce((sum, error) => sum + error, 0) / errors.length;
    expect(mean).toBeLessThanOrEqual(SHADOW_ERROR_MAX);
    expect(insideCount / errors.length).toBeGreaterThan(0.85);
  });
});

describe.each(STREAMS)('the curve of %s', (name) => {
  test(`errs by at most ${CURVE_ERROR_MAX} on average, and its band holds the truth`, async () => {
    const { keys, whole, pageCount } = await streamAndTruth(name);
    const exact = stackDistancesOf(whole);
    const advisor = advisorOf('s3fifo-cw', roomFor(4096), 1024);
    readAll(advisor, keys);
    const { curve, footprintPages } = advisor.report();
    expect(curve.at(-1)?.pages).toBeGreaterThanOrEqual(pageCount * 0.95);
    expect(Math.abs(footprintPages / pageCount - 1)).toBeLessThan(0.02);
    const errors = curve.map(({ pages, missRatio, low, high }) => {
      const real = exact.missRatioAt(pages);
      expect(real).toBeGreaterThanOrEqual(low - 0.01);
      expect(real).toBeLessThanOrEqual(high + 0.01);
      return Math.abs(missRatio - real);
    });
    const mean = errors.reduce((sum, error) => sum + error, 0) / errors.length;
    expect(mean).toBeLessThanOrEqual(CURVE_ERROR_MAX);
  });

  test('is nearer to the truth by a sample that is spread than by chance', async () => {
    const { keys, whole, pageCount } = await streamAndTruth(name);
    const exact = stackDistancesOf(whole);
    const sizes = evenSizes(pageCount, 50);
    const errorBy = (hashOf: typeof pageHash): number => {
      const errors = [1, 2, 3].map((salt) => {
        const shards = new FixedSizeShards({ samples: 512 });
        for (const key of keys) shards.note(hashOf(key, salt * 0x1234_5679));
        return meanAbsoluteError(shards, exact, sizes);
      });
      return Math.max(...errors);
    };
    expect(errorBy(spreadHash)).toBeLessThan(errorBy(pageHash));
  });
});
