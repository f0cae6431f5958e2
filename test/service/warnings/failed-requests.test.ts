import { beforeEach, expect, onTestFinished, test, vi } from 'vitest';
import { countFailure, newCounters } from '../../../src/image/data/operation-counters.ts';
import { TmemError } from '../../../src/lib/errors.ts';
import { FailedRequests, watchedRequests } from '../../../src/service/warnings/failed-requests.ts';
import { KIB, noise, read } from '../../export/fixture.ts';
import { makeWriteBack, writeAtOnce } from '../../export/writes/write-back-fixture.ts';

const SECOND_MS = 1000;

let counters: ReturnType<typeof newCounters>;
let warnings: string[];
let requests: FailedRequests;

const log = {
  info: () => undefined,
  warn: (line: string) => void warnings.push(line),
};

beforeEach(() => {
  vi.useFakeTimers();
  [counters, warnings] = [newCounters(), []];
  requests = new FailedRequests([{ exportName: 'disk', noun: 'read', counters }], log);
  requests.start();
  onTestFinished(() => {
    vi.useRealTimers();
  });
});

function fail(reason: string): void {
  countFailure(counters, new TmemError('io', reason));
}

test('a request that fails is told within a second, with its reason', () => {
  vi.advanceTimersByTime(10 * SECOND_MS);
  expect(warnings).toEqual([]);
  fail('cannot read; check the disk');
  vi.advanceTimersByTime(SECOND_MS);
  expect(warnings).toEqual(['export "disk": a read failed: cannot read; check the disk']);
});

test('more that fail are told once a minute, counted, and the rest at the end', () => {
  fail('the first');
  for (let second = 0; second <= 60; second++) {
    vi.advanceTimersByTime(SECOND_MS);
    fail(`that of second ${second}`);
  }
  expect(warnings.slice(1)).toEqual([
    'export "disk": a read failed 60 times, the last time: that of second 59',
  ]);
  requests.stop();
  expect(warnings.slice(2)).toEqual(['export "disk": a read failed: that of second 60']);
  fail('after the end');
  vi.advanceTimersByTime(100 * SECOND_MS);
  expect(warnings).toHaveLength(3);
});

test('what an image cannot do fast is no failure', () => {
  countFailure(counters, new TmemError('unsupported', 'no fast zeroes here'));
  vi.advanceTimersByTime(SECOND_MS);
  requests.stop();
  expect(warnings).toEqual([]);
});

test('of writes in write-back those are told that a client waited for, and not those of the writer', async () => {
  let isFull = false;
  const parts = makeWriteBack({ hasHot: false, mayAllocate: () => !isFull });
  const all = new FailedRequests(
    watchedRequests([{ disk: { overflow: undefined }, target: parts.target }]),
    log,
  );
  await writeAtOnce(parts, 0, noise(4 * KIB, 1));
  parts.storage.failNext('write');
  await expect(parts.target.sync()).rejects.toMatchObject({ kind: 'io' });
  all.stop();
  expect(warnings).toEqual([]);
  isFull = true;
  parts.storage.failNext('write', 'ENOSPC');
  const refused = writeAtOnce(parts, 64 * KIB, noise(4 * KIB, 2));
  await expect(refused).rejects.toMatchObject({ kind: 'no-space' });
  all.stop();
  expect(warnings).toEqual([expect.stringMatching(/^export "disk": a write failed: \w/)]);
});

test.each([1, 2])(
  'nor a write of the writer with clean pages in it, that fails %i times',
  async (times) => {
    const parts = makeWriteBack({ tuning: { ageMsMax: Number.POSITIVE_INFINITY } });
    await read(parts, 0, 16 * KIB);
    for (const page of [1, 3]) await writeAtOnce(parts, page * 4 * KIB, noise(4 * KIB, page));
    const all = new FailedRequests(
      watchedRequests([{ disk: { overflow: undefined }, target: parts.target }]),
      log,
    );
    parts.storage.failNext('write', 'EIO', times);
    await parts.target.sync().catch(() => undefined);
    expect(parts.target.image.counters.write.failures).toBe(times);
    all.stop();
    expect(warnings).toEqual([]);
  },
);

test('a failure is told of once, though the images above the one that failed have it, too', () => {
  const [top, base] = [newCounters(), newCounters()];
  const counted = [top, base].map((each) => ({ exportName: 'disk', noun: 'read', counters: each }));
  const chain = new FailedRequests(counted, log);
  const cause = new TmemError('io', 'cannot read "base"');
  for (const each of [base, top]) countFailure(each, cause);
  chain.stop();
  expect(warnings).toEqual(['export "disk": a read failed: cannot read "base"']);
});
