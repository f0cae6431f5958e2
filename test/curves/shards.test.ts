import { describe, expect, test } from 'vitest';
import { pageHash } from '../../src/curves/page-hash.ts';
import { FixedSizeShards } from '../../src/curves/shards.ts';
import { stackDistancesOf } from '../../src/replay/curves/lru-curve.ts';
import { loop1000, type Stream, synthetics } from '../replay/curves/streams.ts';
import { evenSizes, meanAbsoluteError } from './errors.ts';

const ERROR_MAX = 0.02;
const SALTS = [1, 2, 3];

function noteAll(shards: FixedSizeShards, { ids }: Pick<Stream, 'ids'>, salt: number): void {
  for (const id of ids) shards.note(pageHash(id, salt));
}

describe('SHARDS', () => {
  for (const stream of synthetics()) {
    const exact = stackDistancesOf(stream);
    const sizes = evenSizes(stream.pageCount, 100);

    test(`with 8,192 samples errs by at most ${ERROR_MAX} on ${stream.name}`, () => {
      for (const salt of SALTS) {
        const shards = new FixedSizeShards();
        noteAll(shards, stream, salt);
        expect(meanAbsoluteError(shards, exact, sizes)).toBeLessThanOrEqual(ERROR_MAX);
        expect(shards.references).toBe(stream.ids.length);
        expect(Math.abs(shards.footprint / stream.pageCount - 1)).toBeLessThan(0.05);
      }
    });
  }

  test('that samples everything is exact', () => {
    const stream = loop1000();
    const exact = stackDistancesOf(stream);
    const whole = new FixedSizeShards();
    noteAll(whole, stream, 7);
    for (const pages of [0, 1, 200, 900, 1008, 5000]) {
      expect(whole.missRatioAt(pages)).toBeCloseTo(exact.missRatioAt(pages), 9);
    }
  });

  test('follows a workload that changes when counts are halved', () => {
    const early = Int32Array.from({ length: 200_000 }, (_, at) => at % 1000);
    const late = Int32Array.from({ length: 200_000 }, (_, at) => 5000 + (at % 100));
    const shards = new FixedSizeShards();
    noteAll(shards, { ids: early }, 1);
    for (let epoch = 0; epoch < 10; epoch++) shards.scale(0.5);
    noteAll(shards, { ids: late }, 1);
    expect(shards.missRatioAt(200)).toBeLessThan(0.01);
    expect(shards.references).toBeLessThan(200_200);
  });

  test('that is to follow less of the keys forgets the others', () => {
    const stream = loop1000();
    const shards = new FixedSizeShards();
    noteAll(shards, stream, 1);
    const { footprint } = shards;
    shards.followAtMost(1 / 8);
    expect(shards.rate).toBe(1 / 8);
    expect(shards.sampleCount).toBeLessThan(footprint / 6);
    expect(Math.abs(shards.footprint / footprint - 1)).toBeLessThan(0.2);
    shards.followAtMost(1 / 2);
    expect(shards.rate).toBe(1 / 8);
  });

  test('says nothing of no references, and that no cache misses everything', () => {
    const shards = new FixedSizeShards({ samples: 16 });
    expect(shards.missRatioAt(10)).toBe(0);
    shards.note(5);
    shards.note(5);
    expect(shards.missRatioAt(0)).toBe(1);
    expect(shards.missRatioAt(1)).toBe(0.5);
  });
});
