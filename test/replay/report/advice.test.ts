import { expect, test } from 'vitest';
import { adviceOf } from '../../../src/replay/report/advice.ts';
import type { RunFacts } from '../../../src/replay/report/report.ts';

function run(policy: string, capacityPages: number, missRatio: number): RunFacts {
  const counts = { requests: 1000, hits: 0, misses: 0, coldMisses: 200, evictions: 0 };
  const bytes = { capacityPages, capacityBytes: capacityPages * 4096 };
  return {
    trace: 't',
    policy,
    ...bytes,
    ...counts,
    missRatio,
    missRatioLow: null,
    missRatioHigh: null,
  };
}

const FACTS = {
  coldMissRatio: 0.2,
  footprintPages: 1000,
  pageBytes: 4096,
  unit: 'bytes',
  engine: 'sizes',
  ops: 'all',
} as const;

test('the advice is the smallest size that gets nine tenths of all hits that can be', () => {
  const runs = [run('lru', 100, 0.5), run('lru', 200, 0.27), run('lru', 400, 0.21)];
  const advice = adviceOf({ ...FACTS, runs });
  expect(advice.capacityPages).toBe(200);
  expect(advice.sentence).toBe(
    'Keep 800 KiB of pages (20.0 % of the footprint) with lru: 73.0 % of the accesses hit, ' +
      'of the 80.0 % that any cache could.',
  );
  expect(advice.notes).toContain('Another 800 KiB would bring 6.0 points more.');
});

test('the default policy is advised unless another is clearly better', () => {
  const close = [run('arc', 100, 0.25), run('s3fifo-cw', 100, 0.255)];
  expect(adviceOf({ ...FACTS, runs: close }).policy).toBe('s3fifo-cw');
  expect(adviceOf({ ...FACTS, runs: close }).notes).toContain(
    'arc would miss 0.5 points less at this size.',
  );
  const clear = [run('arc', 100, 0.25), run('s3fifo-cw', 100, 0.27)];
  expect(adviceOf({ ...FACTS, runs: clear }).policy).toBe('arc');
});

test('what knows the future is never advised', () => {
  const runs = [run('belady', 100, 0.21), run('gdsf', 100, 0.22), run('lru', 100, 0.5)];
  expect(adviceOf({ ...FACTS, runs }).policy).toBe('lru');
});

test('where only what knows the future was tried, its best size is told as nothing to set', () => {
  const runs = [run('belady', 100, 0.5), run('belady', 200, 0.21), run('gdsf', 200, 0.3)];
  const { sentence, capacityPages } = adviceOf({ ...FACTS, runs });
  expect(capacityPages).toBe(200);
  expect(sentence).toBe(
    'No service has belady, with which in 800 KiB of pages (20.0 % of the footprint): ' +
      '79.0 % of the accesses hit, of the 80.0 % that any cache could.',
  );
});

test('parameters that no service has are as little advised, and others by the name it has', () => {
  const own = run('s3fifo-cw:window=0.5', 100, 0.21);
  const { policy } = adviceOf({ ...FACTS, runs: [run('lru', 100, 0.4), own] });
  expect(policy).toBe('lru');
  const sentenceOf = (label: string) =>
    adviceOf({ ...FACTS, runs: [run(label, 100, 0.21)] }).sentence;
  expect(sentenceOf(own.policy)).toMatch(/^No service has s3fifo-cw:window=0.5, with which/);
  expect(sentenceOf('s3fifo-t1')).toMatch(/^No service has s3fifo-t1/);
  expect(sentenceOf('clock:bits=2')).toMatch(/ with clock-2bit: /);
  expect(sentenceOf('slru-4')).toMatch(/ with slru: /);
  expect(sentenceOf('lirs:hir=0.01')).toMatch(/ with lirs: /);
});

test('nothing is said of a curve where one size was tried, or where it lies flat', () => {
  const notes = (...runs: RunFacts[]) => adviceOf({ ...FACTS, runs }).notes.join(' ');
  const one = notes(run('lru', 100, 0.6), run('arc', 100, 0.7));
  expect(one).toContain(
    'No other size was tried; a cache of the whole footprint would hit 80.0 %.',
  );
  const flat = notes(run('lru', 100, 0.6), run('lru', 200, 0.599));
  expect(flat).toContain('The last of the sizes brought hardly anything, but a cache of the whole');
  expect(one + flat).not.toContain('still falls');
});

test('a curve that still falls, a size beyond the footprint, a workload without reuse: said', () => {
  const notes = (changed: object, ...runs: RunFacts[]) =>
    adviceOf({ ...FACTS, ...changed, runs }).notes.join(' ');
  const [small, large] = [run('lru', 100, 0.8), run('lru', 200, 0.6)];
  expect(notes({}, small, large)).toContain(
    'More memory than was tried would help: the curve still',
  );
  expect(notes({}, run('lru', 2000, 0.2))).toContain('larger than the footprint');
  expect(notes({ coldMissRatio: 0.95 }, run('lru', 100, 0.96))).toContain('No cache helps');
});
