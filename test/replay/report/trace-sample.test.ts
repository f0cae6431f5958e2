import { expect, test } from 'vitest';
import { parseMemoryList } from '../../../src/replay/report/memory-sizes.ts';
import { replay } from '../../../src/replay/report/replay.ts';
import { samplingHash } from '../../../src/trace/own/format.ts';
import { OP } from '../../../src/trace/request-batch.ts';
import {
  mixedRequests,
  replayOptions,
  type ScriptedRequest,
  scriptedTrace,
} from './scripted-trace.ts';

const RATE = 0.5;
/** One page each, so that a request is in the sample or not. */
const REQUESTS = mixedRequests(40_000, 8000).map((request) => ({ ...request, pages: 1 }));
const SAMPLE = REQUESTS.filter(({ page }) => samplingHash(0, page) < RATE * 2 ** 32);

const options = (changed = {}) =>
  replayOptions({
    memory: parseMemoryList('4MiB,2000p,60%'),
    policies: ['lru', 's3fifo-cw'],
    wantsReport: false,
    ...changed,
  });
const sampled = (facts = {}, requests: readonly ScriptedRequest[] = SAMPLE) =>
  scriptedTrace(requests, { sampleRate: RATE, ...facts });

test.each([1, 0.5])(
  'a trace that is a sample is shown in sizes of the whole, also with --sample %f',
  async (sampleRate) => {
    const whole = await replay(scriptedTrace(REQUESTS), options());
    const part = await replay(sampled(), options({ sampleRate }));
    expect(part.sampleRate).toBe(RATE * sampleRate);
    expect(part.runs.slice(0, 2).map(({ capacityPages }) => capacityPages)).toEqual([1024, 2000]);
    for (const of of ['footprintPages', 'accesses'] as const) {
      expect(Math.abs(part.workload[of] / whole.workload[of] - 1)).toBeLessThan(0.06);
    }
    expect(part.workload.requests).toBe(SAMPLE.length);
    for (const [at, run] of part.runs.entries()) {
      expect(Math.abs(run.missRatio - (whole.runs[at]?.missRatio ?? 2))).toBeLessThan(0.05);
      expect(run.missRatioLow).toBeLessThanOrEqual(run.missRatio);
    }
    expect(part.advice.notes.join()).toContain('The trace has 50.0 % of the pages: sizes,');
  },
);

test('what a sample has in parts of its pages, and in objects, is scaled', async () => {
  const parts = await replay(sampled(), options({ pageBytes: 1024 }));
  expect(parts.sampleRate).toBe(RATE);
  const memory = parseMemoryList('10%');
  const keys = await replay(sampled({ unit: 'keys' }), options({ memory, pageBytes: 65_536 }));
  expect(keys.sampleRate).toBe(RATE);
});

test.each([
  [{ pageBytes: 65_536 }, {}, 'to pages of 64KiB since it was taken by those of 4KiB'],
  [{ engine: 'full' }, {}, 'since layers do not scale down'],
  [{}, { sampleRates: [RATE, 1] }, 'since its files have different shares'],
])('a sample with %o and %o is replayed as it is, which is said', async (changed, facts, why) => {
  const requests = SAMPLE.slice(0, 2000);
  const memory = parseMemoryList('4MiB');
  const { runs, advice, sampleRate } = await replay(
    sampled(facts, requests),
    options({ memory, policies: ['lru'], ...changed }),
  );
  expect({ sampleRate, low: runs[0]?.missRatioLow }).toEqual({ sampleRate: 1, low: null });
  expect(advice.notes.join()).toContain(`not scaled ${why}`);
});

const GIB_PAGES = 2 ** 18;

test('of a request that a sample holds as a whole, no more is scaled than its share', async () => {
  const zeroes = [{ page: 100_000, pages: GIB_PAGES, op: OP.zero }];
  const facts = { sampleRate: 0.05, sampleRates: [0.05] };
  const { workload } = await replay(sampled(facts, zeroes), options({ policies: ['lru'] }));
  for (const of of ['footprintPages', 'accesses'] as const) {
    expect(Math.abs(workload[of] / GIB_PAGES - 1)).toBeLessThan(0.02);
  }
  expect(Math.abs(workload.writeBytes / (GIB_PAGES * 4096) / 0.05 - 1)).toBeLessThan(0.02);
});

test('pages of a long request are those that the sample has others of', async () => {
  const reads = Array.from({ length: 20_000 }, (_, page) => ({ page }));
  const few = reads.filter(({ page }) => samplingHash(0, page) < RATE * 2 ** 32);
  const { runs } = await replay(
    sampled({}, [{ page: 0, pages: 20_000, op: OP.write }, ...few]),
    options({ memory: parseMemoryList('20000p'), policies: ['lru'] }),
  );
  expect(runs[0]?.missRatio).toBe(0.5);
});

test('where samples were put together, long requests are left out, which is said', async () => {
  const long = { page: 0, pages: GIB_PAGES, op: OP.zero };
  const memory = parseMemoryList('4MiB');
  const merged = (requests: readonly ScriptedRequest[]) =>
    replay(sampled({ isMergedSample: true }, requests), options({ memory, policies: ['lru'] }));
  const { workload, advice } = await merged([...SAMPLE.slice(0, 2000), long]);
  expect(workload.accesses).toBe(2000 / RATE);
  expect(advice.notes.join()).toContain('1 request above 64MiB is left out: samples have such');
  await expect(merged([long])).rejects.toThrow('is a sample of pages, and its 1 request has none');
});

test.each([false, true])(
  'a trim of a whole disk drops pages of a sample, put together: %s',
  async (isMergedSample) => {
    const reads = SAMPLE.slice(0, 1).map(({ page }) => ({ page }));
    const trim = { page: 0, pages: 2 ** 30, op: OP.trim };
    const { runs } = await replay(
      sampled({ isMergedSample }, [...reads, trim, ...reads, ...reads]),
      options({ memory: parseMemoryList('100p'), policies: ['lru'], ops: 'writes-invalidate' }),
    );
    expect(runs[0]?.missRatio).toBeCloseTo(2 / 3, 5);
  },
);
