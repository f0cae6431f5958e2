import { beforeEach, expect, onTestFinished, test, vi } from 'vitest';
import { countFailure, newCounters } from '../../src/image/data/operation-counters.ts';
import { TmemError } from '../../src/lib/errors.ts';
import { FailedRequests } from '../../src/service/failed-requests.ts';

const SECOND_MS = 1000;

let counters: ReturnType<typeof newCounters>;
let warnings: string[];
let requests: FailedRequests;

beforeEach(() => {
  vi.useFakeTimers();
  [counters, warnings] = [newCounters(), []];
  requests = new FailedRequests([{ exportName: 'disk', noun: 'read', counters }], {
    info: () => undefined,
    warn: (line) => void warnings.push(line),
  });
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
