import { describe, expect, test } from 'vitest';
import { evenSizes, meanAbsoluteError } from '../../../src/curves/curve.ts';
import { pageHash } from '../../../src/curves/page-hash.ts';
import { FixedSizeShards } from '../../../src/curves/shards.ts';
import { stackDistancesOf } from '../../../src/replay/curves/lru-curve.ts';
import { BandedShards } from '../../../src/replay/curves/shards-band.ts';
import { fixedRateShards } from '../../../src/replay/curves/shards-fixed-rate.ts';
import { loop1000, type Stream, synthetics } from './streams.ts';

const ERROR_MAX = 0.02;
const SALTS = [1, 2, 3];

function noteAll(
  shards: { note(hash: number): void },
  { ids }: Pick<Stream, 'ids'>,
  salt: number,
): void {
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

    test(`with 512 samples has a band that the exact curve of ${stream.name} is mostly in`, () => {
      const shards = new BandedShards({ samples: 512 });
      noteAll(shards, stream, 1);
      const inside = sizes.filter((pages) => {
        const { low, missRatio, high } = shards.bandAt(pages);
        expect(low).toBeLessThanOrEqual(missRatio);
        expect(high).toBeGreaterThanOrEqual(missRatio);
        const truth = exact.missRatioAt(pages);
        return truth >= low - 0.01 && truth <= high + 0.01;
      });
      expect(inside.length).toBeGreaterThanOrEqual(70);
    });
  }

  test('that samples everything is exact', () => {
    const stream = loop1000();
    const exact = stackDistancesOf(stream);
    const everything = fixedRateShards(stream, 1, stream.ids.length);
    const whole = new FixedSizeShards();
    noteAll(whole, stream, 7);
    for (const pages of [0, 1, 200, 900, 1008, 5000]) {
      expect(everything.missRatioAt(pages)).toBeCloseTo(exact.missRatioAt(pages), 9);
      expect(whole.missRatioAt(pages)).toBeCloseTo(exact.missRatioAt(pages), 9);
    }
  });

  test('follows a workload that changes when counts are halved', () => {
    const early = Int32Array.from({ length: 200_000 }, (_, at) => at % 1000);
    const late = Int32Array.from({ length: 200_000 }, (_, at) => 5000 + (at % 100));
    const forgetting = new BandedShards({ epochReferences: 20_000 });
    const remembering = new BandedShards();
    for (const shards of [forgetting, remembering]) {
      noteAll(shards, { ids: early }, 1);
      noteAll(shards, { ids: late }, 1);
    }
    expect(remembering.missRatioAt(200)).toBeCloseTo(0.5, 1);
    expect(forgetting.missRatioAt(200)).toBeLessThan(0.01);
    expect(forgetting.bandAt(200).high).toBeLessThan(0.05);
    expect(forgetting.references).toBeLessThan(40_001);
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
