import { afterAll, expect, test } from 'vitest';
import { Export } from '../../src/export/export.ts';
import { rawImage } from '../../src/image/raw.ts';
import { loadCodec } from '../../src/layers/codec.ts';
import { BufferPool } from '../../src/lib/buffer-pool.ts';
import { Advisors, planAdvisors } from '../../src/service/advisors.ts';
import { createStack } from '../../src/service/stack.ts';
import { Cleancache } from '../../src/tmem/cleancache.ts';
import { noise, read, write } from '../export/fixture.ts';
import { MemoryStorage } from '../storage/memory-storage.ts';

const MIB = 1024 * 1024;
const PAGE = 4096;
const IMAGE_PAGES = 8192;
const closers: (() => void)[] = [];

afterAll(() => {
  for (const close of closers) close();
});

/** A watched export in zcache alone, with room for about a quarter of its image. */
function watchedExport(policyName: 'lru' | 's3fifo-cw', hotFraction = 0) {
  const stack = createStack({
    ...{ memoryBytes: 8 * MIB, hotFraction, pageBytesMax: PAGE, policyName },
    codec: loadCodec(),
  });
  const buffers = new BufferPool(8 * MIB, PAGE);
  const disk = noise(IMAGE_PAGES * PAGE);
  for (let page = 0; page < IMAGE_PAGES; page++) disk.writeUInt32LE(page + 1, page * PAGE); // none is all zeros
  const target = new Export({
    name: 'disk',
    image: rawImage(new MemoryStorage(disk), 'disk'),
    cache: new Cleancache(stack.tmem, PAGE, stack.lender),
    buffers,
    mode: 'writethrough',
  });
  closers.push(() => target.close());
  const plan = planAdvisors(policyName, 1, 128 * MIB);
  const advisors = new Advisors(plan, [target], stack.tmem);
  return { target, buffers, advisors, tmem: stack.tmem };
}

/** Page numbers, the low ones more often; the same each time. */
function* pagesToRead(count: number, seed = 7): Generator<number> {
  let x = seed;
  for (let i = 0; i < count; i++) {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    const u = (x >>> 0) / 2 ** 32;
    yield Math.floor(IMAGE_PAGES * u * u);
  }
}

test.each([
  ['lru', 0],
  ['s3fifo-cw', 0],
  ['s3fifo-cw', 0.25],
] as const)('an export misses as its advisor says: %s, hot %d', async (policy, hotFraction) => {
  const parts = watchedExport(policy, hotFraction);
  let at = 0;
  for (const page of pagesToRead(90_000)) {
    await read(parts, page * PAGE, PAGE);
    if (at++ % 10 === 0) await write(parts, page * PAGE, noise(PAGE, page));
  }
  const report = parts.advisors.reportOf('disk');
  if (report === undefined) throw new Error('nobody watched');
  const [, same] = report.sizes;
  if (same === undefined) throw new Error('no estimate');
  expect(report.isFull).toBe(true);
  expect(report.realMissRatio).toBeGreaterThan(0.1);
  expect(report.realMissRatio).toBeLessThan(0.9);
  expect(report.realMissRatio).toBeGreaterThanOrEqual(same.low - 0.01);
  expect(report.realMissRatio).toBeLessThanOrEqual(same.high + 0.01);
  expect(parts.advisors.statusOf('disk')?.advice).toContain('the memory');
});

test('an export whose image fits in memory is told that more would not help', async () => {
  const parts = watchedExport('lru');
  for (const page of pagesToRead(20_000)) await read(parts, (page >> 3) * PAGE, PAGE);
  expect(parts.advisors.statusOf('disk')).toMatchObject({
    advice: 'more memory would not help: all that was read fits, and half of it would do',
  });
});

test('what others lose to their caps is not what the memory has no room for', async () => {
  const parts = watchedExport('lru');
  const account = parts.tmem.createAccount({ name: 'other', capBytes: 20 * PAGE });
  const pool = parts.tmem.createPool({ kind: 'ephemeral', account });
  const other = noise(PAGE);
  for (let i = 0; i < 9000; i++) {
    await read(parts, (i % 16) * 16 * PAGE, 16 * PAGE);
    pool.put(0, i, other);
  }
  expect(parts.tmem.layers.at(-1)?.statistics.evictedAtCap).toBeGreaterThan(8000);
  expect(parts.advisors.reportOf('disk')?.memoryPages).toBeGreaterThan(1500);
});

test('an advisor counts pages of sequential reads as misses though they were read ahead', async () => {
  const parts = watchedExport('lru');
  for (let at = 0; at < 4096 * PAGE; at += 16 * PAGE) {
    await read(parts, at, 16 * PAGE);
    await new Promise((resolve) => setImmediate(resolve));
  }
  const report = parts.advisors.reportOf('disk');
  expect(parts.target.statistics.aheadPages).toBeGreaterThan(1000);
  expect(report?.realMissRatio).toBeGreaterThan(0.95);
  expect(Math.abs(report?.gap ?? 1)).toBeLessThan(0.05);
});

test('nobody watches where the memory has no room for advisors', () => {
  const plan = planAdvisors('lru', 10_000, 64 * MIB);
  expect(plan).toMatchObject({ size: undefined, bytes: 0 });
  const { target } = watchedExport('lru');
  target.watchAccesses(undefined);
  const advisors = new Advisors(plan, [target], createStackOnly());
  expect(target.reads.watcher).toBeUndefined();
  expect(advisors.statusOf('disk')).toBeNull();
});

function createStackOnly() {
  const parts = { memoryBytes: 8 * MIB, hotFraction: 0, pageBytesMax: PAGE } as const;
  return createStack({ ...parts, policyName: 'lru', codec: loadCodec() }).tmem;
}
