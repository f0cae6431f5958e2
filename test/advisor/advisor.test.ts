import { describe, expect, test } from 'vitest';
import { adviceOf } from '../../src/advisor/advice.ts';
import { advisorBytes, advisorSizeFor } from '../../src/advisor/budget.ts';
import { Shadow } from '../../src/advisor/shadow.ts';
import { rivalOf } from '../../src/advisor/shadow-policies.ts';
import { POLICY_NAMES } from '../../src/policy/policies.ts';
import { stream } from '../policy/golden-synthetic.ts';
import { advisorOf, readAll, roomFor } from './advised.ts';

const MIB = 1024 * 1024;

/** Pages below `count`, some far more often than others, the same each time. */
function* skewed(reads: number, count: number): Generator<number> {
  let x = 99;
  for (let i = 0; i < reads; i++) {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    const u = (x >>> 0) / 2 ** 32;
    yield Math.floor(count * u * u);
  }
}

describe('an advisor', () => {
  test('says the same of the same reads', () => {
    const [one, other] = [1, 2].map(() => {
      const advisor = advisorOf('s3fifo-cw', roomFor(4000), 1024, { epochReads: 1000 });
      readAll(advisor, stream('phases').subarray(0, 40_000));
      return advisor.report();
    });
    expect(one).toEqual(other);
    expect(one?.reads).toBeGreaterThan(0);
  });

  test('samples all of a small cache, and less once it is not young any more', () => {
    const advisor = advisorOf('lru', roomFor(1000), 16_384, { youngAccesses: 30_000 });
    readAll(advisor, skewed(29_000, 3000));
    expect(advisor.report()).toMatchObject({ rate: 1, sampledReads: 29_000 });
    for (let i = 0; i < 100; i++) advisor.noteRead(0, 4096, 0);
    expect(advisor.report().rate).toBe(1 / 8);
  });

  test('has the largest shadow hold four times the memory, and the rate fit to that', () => {
    const memory = { pages: 4000 };
    const cache = roomFor(0, { freeBytes: () => memory.pages * 4096 });
    const advisor = advisorOf('lru', cache, 1024, { youngAccesses: 2 ** 40 });
    expect(advisor.report().rate).toBe(1 / 16);
    memory.pages = 64_000;
    for (let i = 0; i < 16; i++) advisor.noteRead(0, 65_536, 0);
    const report = advisor.report();
    expect(report.rate).toBe(1 / 256);
    expect(report.memoryPages).toBeGreaterThan(63_000);
    for (const { memory: times, pages } of report.sizes) {
      expect(Math.abs(pages / times - report.memoryPages)).toBeLessThan(2);
    }
    memory.pages = 1000; // what it knew was of pages that are no fair sample of the new rate
    for (let i = 0; i < 16; i++) advisor.noteRead(0, 65_536, 0);
    const { rate, memoryPages, reads } = advisor.report();
    expect(reads).toBeLessThan(16 * 65_536);
    expect(rate).toBeGreaterThanOrEqual(1 / 16);
    expect(memoryPages).toBeLessThan(1500);
  });

  test('tells of the reads that it counts alone, also after memory became far less', () => {
    const memory = { pages: 4000 };
    const cache = roomFor(0, { freeBytes: () => memory.pages * 4096 });
    const advisor = advisorOf('s3fifo-cw', cache, 1024, { youngAccesses: 2 ** 40 });
    for (let page = 0; page < 100_000; page++) advisor.noteRead(page, 1, 1);
    memory.pages = 500;
    for (let i = 0; i < 400_000; i++) advisor.noteRead(i % 100, 1, 0);
    const { rate, reads, curve, others, sizes } = advisor.report();
    expect(rate).toBe(1 / 4);
    expect(reads).toBeLessThan(400_000); // it began anew
    for (const { missRatio } of sizes) expect(missRatio).toBeLessThan(0.01);
    expect(curve.at(-1)?.missRatio).toBeLessThan(0.01);
    expect(others.find(({ policy }) => policy === 'lru')?.missRatio).toBeLessThan(0.01);
  });

  test('counts nothing of memory that became far less before its shadows have pages again', () => {
    const memory = { pages: 8000 };
    const cache = roomFor(0, { freeBytes: () => memory.pages * 4096 });
    const advisor = advisorOf('lru', cache, 1024, { youngAccesses: 2 ** 40 });
    readAll(advisor, skewed(400_000, 10_000));
    memory.pages = 1000;
    const mostMemory = (): number => advisor.report().sizes.at(-1)?.missRatio ?? Number.NaN;
    const reads = skewed(400_000, 10_000);
    let early = Number.NaN;
    for (let i = 0; Number.isNaN(early); i++) {
      readAll(advisor, [reads.next().value]);
      if (i % 1000 !== 999 || advisor.report().rate === 1 / 32) continue;
      if (!adviceOf(advisor.report()).startsWith('nothing to say')) early = mostMemory();
    }
    readAll(advisor, reads);
    expect(Math.abs(early - mostMemory())).toBeLessThan(0.02);
  });

  test('counts the pages that memory holds once, however often they are charged', () => {
    const held = new Set(skewed(40_000, 4000));
    const cache = roomFor(0, { has: (page) => held.has(page), heldPages: () => 7000 });
    const advisor = advisorOf('lru', cache, 2048);
    for (let i = 0; i < 120; i++) advisor.noteRead(0, 8192, 0);
    const { memoryPages, sizes } = advisor.report();
    expect(memoryPages / held.size).toBeGreaterThan(0.9);
    expect(memoryPages / held.size).toBeLessThan(1.1);
    expect((sizes[1]?.bytes ?? 0) / (7000 * 4096)).toBeCloseTo(1, 1);
  });

  test('learns soon from what is held what a page takes, which an empty memory does not tell', () => {
    const held = new Set<number>();
    const cache = roomFor(0, {
      has: (page) => held.has(page),
      heldPages: () => held.size,
      chargeBytes: () => (held.size > 0 ? 2048 : 4096),
      freeBytes: () => (4000 - held.size) * 2048,
    });
    const advisor = advisorOf('lru', cache, 16_384);
    expect(advisor.report().memoryPages).toBe(2000);
    for (let page = 0; page < 3000; page++) {
      advisor.noteRead(page, 1, 1);
      held.add(page);
    }
    expect(Math.abs(advisor.report().memoryPages - 4000)).toBeLessThan(10);
  });

  test('does not take all pages to be like the zeros that a disk begins with', () => {
    const held = new Set<number>();
    let usedBytes = 0;
    const cache = roomFor(0, {
      has: (page) => held.has(page),
      heldPages: () => held.size,
      chargeBytes: () => (held.size > 0 ? usedBytes / held.size : 4096),
      freeBytes: () => 4000 * 2048 - usedBytes,
    });
    const advisor = advisorOf('lru', cache, 16_384);
    const read = (page: number, bytes: number): void => {
      advisor.noteRead(page, 1, held.has(page) ? 0 : 1);
      if (!held.has(page)) usedBytes += bytes;
      held.add(page);
    };
    for (let page = 0; page < 1500; page++) read(page, 44);
    for (let i = 0; i < 60_000; i++) read(2000 + (i % 3000), 2048);
    const { reads, memoryPages } = advisor.report();
    expect(reads).toBe(61_500); // none was forgotten
    expect(memoryPages / 5500).toBeCloseTo(1, 0);
  });

  test('follows a workload that changes', () => {
    const forgetting = advisorOf('lru', roomFor(500), 2048, { epochReads: 5000 });
    const remembering = advisorOf('lru', roomFor(500), 2048);
    for (const advisor of [forgetting, remembering]) {
      for (let i = 0; i < 60_000; i++) advisor.noteRead(i % 1000, 1, 1);
      for (let i = 0; i < 60_000; i++) advisor.noteRead(i % 100, 1, 0);
    }
    const [, late] = forgetting.report().sizes;
    const [, ever] = remembering.report().sizes;
    expect(late?.missRatio).toBeLessThan(0.01);
    expect(ever?.missRatio).toBeCloseTo(0.5, 2);
    expect(forgetting.report().realMissRatio).toBeLessThan(0.01);
    expect(remembering.report()).toMatchObject({ realMissRatio: 0.5, reads: 120_000 });
    expect(forgetting.report().curve.at(-1)?.missRatio).toBeLessThan(0.01);
  });

  test('sets what was missed, and what was read ahead, against the estimate', () => {
    let ahead = 0;
    const advisor = advisorOf('lru', roomFor(10_000, { aheadPages: () => ahead }), 1024);
    for (let i = 0; i < 1000; i++) advisor.noteRead(i * 8, 8, 2);
    ahead = 6000;
    const { realMissRatio, gap, sizes } = advisor.report();
    expect(sizes[1]?.missRatio).toBe(1);
    expect(realMissRatio).toBe(1);
    expect(gap).toBe(0);
  });

  test('knows that written pages are in memory, and dropped ones are not', () => {
    const advisor = advisorOf('lru', roomFor(1000), 4096);
    advisor.noteWrite(0, 500);
    for (let page = 0; page < 500; page++) advisor.noteRead(page, 1, 0);
    expect(advisor.report().sizes[1]?.missRatio).toBe(0);
    expect(advisor.report().curve.at(-1)?.missRatio).toBe(0);
    advisor.noteDrop(0, 500);
    for (let page = 0; page < 500; page++) advisor.noteRead(page, 1, 1);
    expect(advisor.report().sizes[1]?.missRatio).toBe(0.5);
    expect(advisor.report().curve.at(-1)?.missRatio).toBe(0.5);
    advisor.noteDrop(0, 2 ** 40); // of no length that would take long
  });
});

describe('the memory of advisors', () => {
  test.each(POLICY_NAMES)('is bounded, whatever is read: %s', (policy) => {
    const shadowPages = 512;
    const shadow = new Shadow(policy, shadowPages);
    shadow.setCapacity(shadowPages);
    let hash = 0;
    for (const page of skewed(20_000, 10_000)) {
      hash = Math.imul(page + 1, 0x9e3779b1) >>> 0;
      shadow.read(page, hash, 1, 0);
    }
    expect(shadow.pages.count).toBe(shadowPages);
    expect(shadow.policyBytes).toBeGreaterThan(0);
    const fixed = Shadow.bytesFor(policy, shadowPages) - shadow.policyBytes;
    expect(fixed).toBeGreaterThanOrEqual(shadowPages * 32);
    shadow.keepBelow(2 ** 30);
    expect(shadow.pages.count).toBeLessThan(shadowPages / 2);
    shadow.clear();
    expect(shadow.pages.count).toBe(0);
    shadow.read(1, hash, 1, 0);
    expect(shadow.misses[0]).toBe(1);
  });

  test('is that of all their shadows', () => {
    const size = { shadowPages: 16_384, samples: 0 };
    const parts = [16_384, 8192, 4096, 2048].map((pages) => Shadow.bytesFor('lru', pages));
    const rival = Shadow.bytesFor(rivalOf('lru'), 4096);
    const bytes = parts.reduce((sum, each) => sum + each, rival);
    expect(advisorBytes('lru', size)).toBeGreaterThan(bytes);
    expect(advisorBytes('lru', size)).toBeLessThan(2 * bytes + 512 * 1024);
  });

  test('is at most a 32nd of that of the service, or there are none', () => {
    const large = advisorSizeFor('s3fifo-cw', 1, 256 * MIB);
    expect(large).toEqual({ shadowPages: 16_384, samples: 8192 });
    for (const [count, memoryBytes] of [
      [1, 32 * MIB],
      [20, 256 * MIB],
      [100, 4096 * MIB],
    ] as const) {
      const size = advisorSizeFor('lirs', count, memoryBytes);
      if (size === undefined) throw new Error(`no advisors for ${count} in ${memoryBytes}`);
      expect(count * advisorBytes('lirs', size)).toBeLessThanOrEqual(memoryBytes / 32);
    }
    expect(advisorSizeFor('lirs', 1000, 64 * MIB)).toBeUndefined();
  });
});
