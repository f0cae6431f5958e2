import { describe, expect, test } from 'vitest';
import { classesOf, estimateOf, scaledRun } from '../../../src/replay/curves/miniature.ts';
import { sampledStream } from '../../../src/replay/curves/sampled-stream.ts';
import type { PageStream } from '../../../src/replay/engine/page-stream.ts';
import type { Run } from '../../../src/replay/engine/run.ts';
import { simulate } from '../../../src/replay/engine/simulate.ts';
import { pageStreamOf } from './page-streams.ts';
import { synthetics } from './streams.ts';

function estimate(sample: PageStream, run: Run, references: number) {
  const simulated = (part: PageStream) => simulate(part, scaledRun(run, part.sampleRate));
  const result = { whole: simulated(sample), classes: classesOf(sample, 2).map(simulated) };
  return estimateOf(result, sample.sampleRate, references);
}

describe('a miniature simulation', () => {
  const streams = synthetics().filter(({ pageCount }) => pageCount >= 10_000);
  for (const policy of ['s3fifo-cw', 'lru', 'arc', 'w-tinylfu']) {
    test(`of ${policy} errs by a few hundredths at a rate of a quarter`, () => {
      for (const stream of streams.map(pageStreamOf)) {
        const miniature = sampledStream(stream, 1, 0, 0.25);
        const sizes = [0.2, 0.4, 0.6].map((share) => Math.round(stream.pageCount * share));
        const errors = sizes.map((capacityPages) => {
          const run = { policy, capacityPages };
          const truth = simulate(stream, run);
          const found = estimate(miniature, run, stream.requestCount);
          expect(found.low).toBeLessThanOrEqual(found.missRatio);
          expect(found.high).toBeGreaterThanOrEqual(found.missRatio);
          return Math.abs(found.missRatio - truth.misses / truth.requests);
        });
        expect(errors.reduce((sum, error) => sum + error, 0) / sizes.length).toBeLessThan(0.03);
      }
    });
  }

  test('of all pages is the simulation itself', () => {
    const [, , skewed] = synthetics().map(pageStreamOf);
    if (skewed === undefined) throw new Error('no stream');
    const run = { policy: 'lru', capacityPages: 2500, warmupRequests: 1000 };
    const { missRatio } = estimate(skewed, run, skewed.requestCount - 1000);
    const { misses, requests } = simulate(skewed, run);
    expect(missRatio).toBe(misses / requests);
  });
});

describe('a sampled stream', () => {
  test('has every reference of its pages, and no other, with their writes', () => {
    const base = pageStreamOf({
      name: 'tiny',
      ids: Int32Array.from({ length: 200 }, (_, at) => (at * 7) % 40),
      pageCount: 40,
    });
    const writeBits = Int32Array.from({ length: 7 }, () => 0x1111_1111);
    const stream = { ...base, ops: 'writes-invalidate' as const, writeBits };
    const parts = [0, 1, 2, 3].map((part) => sampledStream(stream, 3, part / 4, (part + 1) / 4));
    expect(parts.reduce((sum, { pageCount }) => sum + pageCount, 0)).toBe(40);
    expect(parts.reduce((sum, { requestCount }) => sum + requestCount, 0)).toBe(200);
    expect(parts.reduce((sum, { accessCount }) => sum + accessCount, 0)).toBe(150);
    for (const { ids, numberOfPage, pageCount, writeBits: bits } of parts) {
      const seen = [...ids].map((id, at) => {
        const isWrite = (((bits?.[at >>> 5] ?? 0) >>> (at & 31)) & 1) === 1;
        return [numberOfPage[id], isWrite];
      });
      const pages = new Set(numberOfPage);
      const wanted = [...stream.ids]
        .map((id, at) => [id, at % 4 === 0] as const)
        .filter(([id]) => pages.has(id));
      expect(seen).toEqual(wanted);
      expect(Math.max(...ids)).toBe(pageCount - 1);
    }
  });
});
