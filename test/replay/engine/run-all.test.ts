import { availableParallelism } from 'node:os';
import { describe, expect, it } from 'vitest';
import { buildPageStream } from '../../../src/replay/engine/page-stream.ts';
import { parsePolicy, REPLAY_POLICY_NAMES } from '../../../src/replay/engine/policy-specs.ts';
import type { Run, RunResult } from '../../../src/replay/engine/run.ts';
import { runAll, threadsFor } from '../../../src/replay/engine/run-all.ts';
import { simulate } from '../../../src/replay/engine/simulate.ts';
import { SimulatedCache } from '../../../src/replay/engine/simulated-cache.ts';
import { OP, RequestBatch } from '../../../src/trace/request-batch.ts';
import { fc } from '../../tools/seed.ts';
import { goldenStream, streamOfKeys } from './golden-streams.ts';

const workerUrl = new URL('../../../dist/replay/engine/run-worker.js', import.meta.url);
const untimed = (result: RunResult) => ({ ...result, elapsedMs: 0 });

describe('all runs of a stream', () => {
  it('have the same results, in order, on any number of threads', async () => {
    const stream = await goldenStream('phases');
    const runs = REPLAY_POLICY_NAMES.flatMap((policy): Run[] => [
      { policy, capacityPages: 500 },
      { policy, capacityPages: 2000, warmupRequests: 12_345 },
    ]);
    const alone = (await runAll(stream, runs, { threads: 0 })).map(untimed);
    expect(alone.map(({ policy }) => policy)).toEqual(runs.map(({ policy }) => policy));
    for (const threads of [1, 3]) {
      let [done, all] = [0, 0];
      const onProgress = (doneRequests: number, allRequests: number) => {
        [done, all] = [doneRequests, allRequests];
      };
      const results = await runAll(stream, runs, { threads, workerUrl, onProgress });
      expect(results.map(untimed)).toEqual(alone);
      expect([done, all]).toEqual([runs.length * 200_000, runs.length * 200_000]);
    }
  });

  it('are refused together, before the first is run, if one cannot be', async () => {
    const stream = await streamOfKeys('short', [1, 2, 1]);
    const runs: Run[] = [
      { policy: 'lru', capacityPages: 1 },
      { policy: 'mru', capacityPages: 1 },
    ];
    await expect(runAll(stream, runs, { workerUrl })).rejects.toThrow('no policy "mru"');
  });

  it('have fewer threads the more they would hold at once, and one at least', async () => {
    const stream = await streamOfKeys('short', [1, 2, 1]);
    const all = availableParallelism();
    const run = { policy: 'lru', capacityPages: 1 };
    const scan = { pages: 4_000_000, touches: 1 };
    expect(threadsFor(stream, [run])).toBe(Math.min(all, 13));
    expect(threadsFor(stream, [run], new Int32Array(50 << 20))).toBe(1);
    expect(threadsFor(stream, [run, { ...run, scan }])).toBe(1);
    expect(threadsFor({ ...stream, pageCount: 4_000_000 }, [run])).toBe(1);
    expect(threadsFor({ ...stream, pageCount: 2 ** 29 }, [run])).toBe(1);
  });

  it('end when they are told to', async () => {
    const stream = await goldenStream('phases');
    const runs = [{ policy: 'lru', capacityPages: 1 }];
    const signal = AbortSignal.abort(new Error('enough'));
    await expect(runAll(stream, runs, { threads: 1, workerUrl, signal })).rejects.toThrow('enough');
  });
});

describe('a run', () => {
  const streams = fc.array(fc.nat({ max: 40 }), { minLength: 1, maxLength: 400 });

  it('misses at least as often as belady, and as there are pages, whatever the policy', async () => {
    await fc.assert(
      fc.asyncProperty(streams, fc.integer({ min: 1, max: 45 }), async (keys, capacityPages) => {
        const stream = await streamOfKeys('any', keys);
        const floor = simulate(stream, { policy: 'belady', capacityPages });
        expect(floor.coldMisses).toBe(new Set(keys).size);
        expect(floor.misses).toBeGreaterThanOrEqual(floor.coldMisses);
        for (const policy of REPLAY_POLICY_NAMES) {
          const result = simulate(stream, { policy, capacityPages });
          expect(result.misses, policy).toBeGreaterThanOrEqual(floor.misses);
          expect(result.requests).toBe(keys.length);
          expect(result.misses - result.evictions).toBeLessThanOrEqual(capacityPages);
        }
      }),
    );
  });

  it.each(['lru', 'belady'])('of %s never misses more with one page more', async (policy) => {
    await fc.assert(
      fc.asyncProperty(streams, async (keys) => {
        const stream = await streamOfKeys('any', keys);
        let before = Infinity;
        for (let capacityPages = 1; capacityPages <= 45; capacityPages++) {
          const { misses } = simulate(stream, { policy, capacityPages });
          expect(misses).toBeLessThanOrEqual(before);
          before = misses;
        }
      }),
      { numRuns: 20 },
    );
  });

  it('adds up: time series and warm-up to all requests', async () => {
    const stream = await goldenStream('skewed-scan');
    const whole = simulate(stream, { policy: 's3fifo-cw', capacityPages: 1000 });
    const warmed = simulate(stream, {
      policy: 's3fifo-cw',
      capacityPages: 1000,
      warmupRequests: 100_001,
    });
    const sum = (counts: readonly number[]) => counts.reduce((all, count) => all + count, 0);
    expect(whole.timeSeries.hits.length).toBe(200);
    expect(sum(whole.timeSeries.hits)).toBe(whole.hits);
    expect(warmed.timeSeries).toEqual(whole.timeSeries);
    expect(warmed.warmup.requests).toBe(100_001);
    expect(warmed.warmup.hits + warmed.hits).toBe(whole.hits);
    expect(warmed.warmup.coldMisses + warmed.coldMisses).toBe(87_999);
    expect(warmed.volumes).toEqual({ requests: [warmed.requests], hits: [warmed.hits] });
    expect(whole.ghostHits).toBeGreaterThan(0);
    expect(whole.misses - whole.evictions).toBe(1000);
  });

  it('tells volumes apart, and drops what is written', async () => {
    const batch = new RequestBatch();
    const ops = [OP.read, OP.read, OP.write, OP.read, OP.read];
    for (const op of ops) for (const volume of [0, 1, 1]) batch.push(0, 0, 1, volume, op, 0, 0);
    const trace = {
      name: 'two',
      unit: 'bytes' as const,
      volumes: ['a', 'b'],
      canRereads: true,
      async *batches() {
        yield batch;
      },
    };
    const stream = await buildPageStream(trace, { ops: 'writes-invalidate' });
    for (const policy of REPLAY_POLICY_NAMES) {
      const result = simulate(stream, { policy, capacityPages: 2 });
      expect(result, policy).toMatchObject({ requests: 12, misses: 4, coldMisses: 2 });
      expect(result.invalidations).toBe(2);
      expect(result.volumes).toEqual({ requests: [4, 8], hits: [2, 6] });
    }
  });

  it('in bytes never holds more than fit, and bypasses what cannot', async () => {
    const stream = await streamOfKeys('sized', [0, 1, 2, 0, 1, 2, 3, 3]);
    const charges = Uint32Array.of(4000, 5000, 2000, 10_001);
    const run = (capacity: number) => {
      const cache = new SimulatedCache(stream, { spec: parsePolicy('lru'), capacity, charges });
      cache.run(0, stream.requestCount);
      return cache;
    };
    // 0 and 1 fit, 2 pushes 0 out, and so on in a circle; page 3 is too large for the cache.
    expect(run(10_000)).toMatchObject({ misses: 8, hits: 0, evictions: 4 });
    expect(run(11_000)).toMatchObject({ hits: 4, evictions: 3 });
  });

  it('of s3fifo remembers as many ghosts as it is told, which a cache would not', async () => {
    const keys = [...Array.from({ length: 100 }, (_, key) => key), 0];
    const stream = await streamOfKeys('round', keys);
    const ghostHits = (ghost: number) =>
      simulate(stream, { policy: `s3fifo:ghost=${ghost}`, capacityPages: 20 }).ghostHits;
    expect([ghostHits(3.9), ghostHits(4)]).toEqual([0, 1]);
  });

  it('of belady is refused for what came through a pipe', async () => {
    const stream = { ...(await streamOfKeys('-', [1, 2])), canRereads: false };
    expect(() => simulate(stream, { policy: 'belady', capacityPages: 1 })).toThrow('read once');
    expect(simulate(stream, { policy: 'lru', capacityPages: 1 }).misses).toBe(2);
  });

  it.each([
    [{ policy: 'lru', capacityPages: 0 }, 'a capacity of 0 pages'],
    [{ policy: 'clock:bits=9', capacityPages: 1 }, 'from 1 to 8'],
    [{ policy: 'clock:hands=2', capacityPages: 1 }, 'it has bits'],
    [{ policy: 'clock:', capacityPages: 1 }, 'cannot be read'],
    [{ policy: 'toString', capacityPages: 1 }, 'no policy'],
    [{ policy: 'lru', capacityPages: 1, warmupRequests: -1 }, 'a warm-up of -1'],
  ])('is refused: %j', async (run, message) => {
    const stream = await streamOfKeys('short', [1]);
    expect(() => simulate(stream, run)).toThrow(message);
  });
});
