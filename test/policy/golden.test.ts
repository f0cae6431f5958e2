import { describe, expect, it } from 'vitest';
import { LruFamily } from '../../src/policy/lru.ts';
import { S3FifoCwFamily, type S3FifoCwTuning } from '../../src/policy/s3fifo-cw.ts';
import { fc } from '../tools/seed.ts';
import { CAPACITIES, MISSES, type StreamName, stream } from './golden-synthetic.ts';
import { referenceMisses } from './reference-s3fifo.ts';
import { ExactGhost, type MakePolicy, missesOf } from './simulate.ts';

/** Shares as published: no least window, time that passes by insertions, and queues however small. */
const PUBLISHED: Partial<S3FifoCwTuning> = {
  windowMinInsertions: 0,
  hitsPerInsertion: 0,
  clockBelowPages: 0,
};

function withExactGhost(tuning: Partial<S3FifoCwTuning>): MakePolicy {
  return (options) =>
    new S3FifoCwFamily(options, { ...PUBLISHED, ...tuning }).create(new ExactGhost());
}

function missesAtEachCapacity(make: MakePolicy, keys: Uint32Array): number[] {
  return CAPACITIES.map((capacity) => missesOf(make, keys, capacity));
}

describe.each(Object.keys(MISSES) as StreamName[])('miss counts of the stream %s', (name) => {
  const keys = stream(name);
  const golden = MISSES[name];

  it('are exact for lru', () => {
    expect(missesAtEachCapacity((options) => new LruFamily(options).create(), keys)).toEqual(
      golden.lru,
    );
  });

  it('are exact for s3fifo-cw without a window, promoting at one hit and at two', () => {
    const t1 = withExactGhost({ windowShare: 0, promoteAtHits: 1 });
    const t2 = withExactGhost({ windowShare: 0, promoteAtHits: 2 });
    expect(missesAtEachCapacity(t1, keys)).toEqual(golden.t1);
    expect(missesAtEachCapacity(t2, keys)).toEqual(golden.t2);
  });

  it('differ by at most one per cent with the table of fingerprints as the ghost', () => {
    const make: MakePolicy = (options) =>
      new S3FifoCwFamily(options, { ...PUBLISHED, windowShare: 0 }).create();
    missesAtEachCapacity(make, keys).forEach((misses, i) => {
      const exact = golden.t1[i] ?? 0;
      expect(Math.abs(misses - exact)).toBeLessThanOrEqual(0.01 * exact);
    });
  });

  it('agree with the reference for s3fifo-cw with its window', () => {
    const tuning = { promoteAtHits: 1, windowShare: 0.25 };
    const expected = CAPACITIES.map((capacity) => referenceMisses(keys, capacity, tuning));
    expect(missesAtEachCapacity(withExactGhost(tuning), keys)).toEqual(expected);
  });
});

describe('the reference for s3fifo-cw', () => {
  it('gives the exact counts itself where the window is 0', () => {
    const keys = stream('phases');
    const tuning = { promoteAtHits: 2, windowShare: 0 };
    const misses = CAPACITIES.map((capacity) => referenceMisses(keys, capacity, tuning));
    expect(misses).toEqual(MISSES.phases.t2);
  });

  it('agrees with s3fifo-cw on any stream, capacity and tuning', () => {
    const streams = fc.array(fc.nat({ max: 60 }), { maxLength: 400 });
    const tunings = fc.record({
      promoteAtHits: fc.integer({ min: 1, max: 3 }),
      windowShare: fc.constantFrom(0, 0.25, 0.5, 1),
    });
    fc.assert(
      fc.property(streams, fc.integer({ min: 10, max: 50 }), tunings, (keys, capacity, tuning) => {
        const misses = missesOf(withExactGhost(tuning), Uint32Array.from(keys), capacity);
        expect(misses).toBe(referenceMisses(keys, capacity, tuning));
      }),
    );
  });
});
