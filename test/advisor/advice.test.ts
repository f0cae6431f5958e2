import { expect, test } from 'vitest';
import { adviceOf } from '../../src/advisor/advice.ts';
import type { AdvisorReport, MemoryEstimate } from '../../src/advisor/report.ts';

const GIB = 1024 ** 3;

function estimate(memory: number, missRatio: number, policy = 'arc', spread = 0): MemoryEstimate {
  const classes = [-1.5, -0.5, 0.5, 1.5].map((part) => missRatio * (1 + part * spread));
  return {
    ...{ memory, policy, missRatio, classes },
    ...{ pages: memory * 1000, bytes: memory * GIB, low: missRatio, high: missRatio },
  };
}

function report(ratios: readonly number[], changes: Partial<AdvisorReport> = {}): AdvisorReport {
  return {
    ...{ reads: 100_000, sampledReads: 10_000, uncountedReads: 0, rate: 0.1 },
    ...{ sampledPages: 500, pageBytes: 4096 },
    ...{ footprintPages: 5000, memoryPages: 1000, isFull: true, realMissRatio: 0.5, gap: 0 },
    sizes: [0.5, 1, 2, 4].map((memory, i) => estimate(memory, ratios[i] ?? 0)),
    others: [],
    curve: [],
    ...changes,
  };
}

test('advice says how much is missing where too little was read', () => {
  expect(adviceOf(report([], { sampledReads: 500 }))).toBe(
    'nothing to say yet: about 15,000 more pages must be read',
  );
  expect(adviceOf(report([], { sampledReads: 0, uncountedReads: 3000 }))).toContain('50,000 more');
  expect(adviceOf(report([], { sampledReads: 1999 }))).toContain('about 1,000 more pages');
  expect(adviceOf(report([], { sampledReads: 2000 }))).not.toContain('yet');
});

test('advice tells what more memory would turn into hits, and where it would begin to', () => {
  expect(adviceOf(report([0.6, 0.5, 0.31, 0.2]))).toBe(
    'twice the memory, 1GiB more, would turn 38 % of misses into hits (±0): 19 more of 100 reads',
  );
  expect(adviceOf(report([0.6, 0.5, 0.49, 0.2]))).toBe(
    '4 times the memory, 3GiB more, would turn 60 % of misses into hits (±0): 30 more of 100 reads, 10 for each GiB',
  );
});

test('advice says that more memory would not help, and why', () => {
  expect(adviceOf(report([0.6, 0.5, 0.5, 0.5]))).toBe(
    'more memory would not help: 50 % of reads miss also with 4 times as much',
  );
  expect(adviceOf(report([0.5, 0.5, 0.5, 0.5]))).toContain('and half of it would do: 50 %');
  expect(adviceOf(report([0.2, 0.001, 0, 0]))).toBe(
    'more memory would not help: the working set fits',
  );
  expect(adviceOf(report([0, 0, 0, 0]))).toContain('the working set fits, and half of it would do');
  expect(adviceOf(report([0.06, 0.0521, 0.0521, 0.0521]))).toContain(': 5 % of reads miss');
  expect(adviceOf(report([0.4, 0.3, 0.3, 0.3], { isFull: false }))).toBe(
    'more memory would not help: all that was read fits',
  );
});

test('advice names a policy that would miss less, and what that is worth in memory', () => {
  const others = [estimate(1, 0.4, 'lirs'), estimate(1, 0.6, 'lru')];
  expect(adviceOf(report([0.6, 0.5, 0.4, 0.4], { others }))).toContain(
    '; lirs would miss 20 % less (±0), as much as 1GiB more memory would do',
  );
  const muchBetter = [estimate(1, 0.2, 'lirs')];
  expect(adviceOf(report([0.6, 0.5, 0.4, 0.1], { others: muchBetter }))).toContain(
    '; lirs would miss 60 % less (±0), as much as 2.17GiB more memory would do',
  );
  expect(adviceOf(report([0.6, 0.5, 0.4, 0.3], { others: muchBetter }))).toMatch(/less \(±0\)$/);
  const worse = [estimate(1, 0.6, 'lru')];
  expect(adviceOf(report([0.6, 0.5, 0.4, 0.4], { others: worse }))).not.toContain('lru');
});

test('advice does not speak of what may be chance, and says when it was wrong', () => {
  const unsure = [estimate(1, 0.4, 'lirs', 0.3)];
  expect(adviceOf(report([0.6, 0.5, 0.5, 0.5], { others: unsure }))).not.toContain('lirs');
  const wrong = adviceOf(report([0.6, 0.5, 0.5, 0.5], { gap: -0.2 }));
  expect(wrong).toContain('; beware: 20 % fewer of the reads miss than the estimate says');
  const alsoWrong = adviceOf(report([0.6, 0.5, 0.5, 0.5], { gap: 0.2 }));
  expect(alsoWrong).toContain('; beware: 20 % more of the reads miss than the estimate says');
});
