import path from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { rawImage } from '../../src/image/raw.ts';
import { loadCodec } from '../../src/layers/codec.ts';
import { BufferPool } from '../../src/lib/buffer-pool.ts';
import type { Disk } from '../../src/service/disks.ts';
import { createExports } from '../../src/service/exports.ts';
import type { MemoryPlan } from '../../src/service/memory/plan.ts';
import { createStack } from '../../src/service/stack.ts';
import { WriteBackRequests } from '../../src/service/write-back-requests.ts';
import { NoOverflow } from '../../src/swap/no-overflow.ts';
import { openOverflow } from '../../src/swap/open-overflow.ts';
import { noise, read, write } from '../export/fixture.ts';
import { FaultyStorage } from '../storage/faulty-storage.ts';
import { MemoryStorage } from '../storage/memory-storage.ts';
import { temporaryDirectory } from '../storage/temporary-files.ts';
import { until } from '../tools/until.ts';
import { MIB } from '../tools/workspace.ts';

const PAGE = 4096;
const PAGES = 1024;
const PIECE = 256 * 1024;
const codec = loadCodec();
const share = { weight: 100, minimumBytes: 0, capBytes: undefined };

type Kind = 'overflow' | 'memory' | 'image' | 'failing image';

async function openDisk(kind: Kind): Promise<Disk> {
  const name = 'd';
  if (kind === 'image' || kind === 'failing image') {
    const storage = new FaultyStorage(new MemoryStorage(Buffer.alloc(8 * MIB)));
    if (kind === 'failing image') storage.failNext('write', 'EIO', 100);
    const image = rawImage(storage, name);
    return { name, image, mode: 'writeback', share, overflow: undefined };
  }
  const of = { name, mode: 'swap', share } as const;
  if (kind === 'memory') {
    const image = rawImage(new NoOverflow(name, 8 * MIB), name);
    return { ...of, image, overflow: undefined };
  }
  const file = path.join(temporaryDirectory(), 'overflow');
  const place = { name, sizeBytes: 8 * MIB, pageBytes: PAGE, codec, path: file };
  const overflow = await openOverflow({ ...place, removesAtClose: true });
  onTestFinished(() => overflow.close());
  return { ...of, image: rawImage(overflow, name), overflow };
}

/** An export with dirty pages, and far more memory than they take. */
async function dirtied(kind: Kind, pages = PAGES) {
  const stack = createStack({
    ...{ memoryBytes: 64 * MIB, hotFraction: 0.25, pageBytesMax: PAGE, codec },
    policyName: 's3fifo-cw',
  });
  const buffers = new BufferPool(8 * MIB, PAGE);
  const counts = { dirtyPages: 4 * PAGES, swapDirtyPages: [4 * PAGES], writerBytes: 4 * MIB };
  const plan = counts as unknown as MemoryPlan;
  const log = { info: () => undefined, warn: () => undefined };
  const disk = await openDisk(kind);
  const made = createExports([disk], { stack, pageBytes: PAGE, buffers, plan, log });
  const target = made.served[0]?.target;
  if (target?.writeBack === undefined) throw new Error('it is not written back');
  onTestFinished(() => target.close());
  const { writeBack } = target;
  const data = noise(pages * PAGE);
  for (let at = 0; at < data.length; at += PIECE) {
    await write({ target, buffers }, at, data.subarray(at, at + PIECE));
  }
  const { table, frontswap } = writeBack.tier;
  expect(table.count).toBe(pages);
  const { account, usage } = frontswap.pool;
  const requests = new WriteBackRequests(made.served);
  const { statistics } = writeBack.writer;
  return { disk, target, buffers, data, table, account, usage, requests, statistics, writeBack };
}

/** What is left of so many dirty pages at the least: a writer goes on to its low watermark, in runs. */
const leastOf = (pages: number) => pages * 0.75 - PIECE / PAGE;

/** Nothing is on its way any more. */
const settled = ({ table }: Awaited<ReturnType<typeof dirtied>>) =>
  until(() => table.writingCount === 0);

test.each(['overflow', 'image'] as const)(
  'dirty pages above a cap are written once, and those within it stay: %s',
  async (kind) => {
    const parts = await dirtied(kind);
    const { account, usage, requests, table, statistics, writeBack } = parts;
    account.setShare({ capBytes: account.usedBytes });
    requests.fitShares();
    await settled(parts);
    expect([statistics.writtenPages, writeBack.limitPages]).toEqual([0, 4 * PAGES]);
    for (const part of [2, 6, 60]) {
      account.setShare({ capBytes: Math.floor(account.usedBytes / part) });
      requests.fitShares();
      await settled(parts);
      expect(usage.usedBytes).toBeLessThanOrEqual(account.capBytes);
      expect(table.count).toBeGreaterThanOrEqual(leastOf(PAGES / part));
    }
    const { writtenPages } = statistics;
    expect(writtenPages).toBe(PAGES - table.count);
    for (let i = 0; i < 5; i++) requests.fitShares();
    await settled(parts);
    expect(statistics.writtenPages).toBe(writtenPages);
    for (let at = 0; at < parts.data.length; at += PIECE) {
      expect((await read(parts, at, PIECE)).equals(parts.data.subarray(at, at + PIECE))).toBe(true);
    }
  },
);

test('a cap that is raised holds the dirty limit down no longer', async () => {
  const parts = await dirtied('image');
  const { account, requests, writeBack } = parts;
  account.setShare({ capBytes: Math.floor(account.usedBytes / 60) });
  requests.fitShares();
  await settled(parts);
  requests.fitShares();
  const lowPages = writeBack.limitPages;
  expect(lowPages).toBeLessThan(PAGES / 50);
  account.setShare({ capBytes: Number.POSITIVE_INFINITY });
  requests.fitShares();
  expect(writeBack.limitPages).toBe(4 * PAGES);
  writeBack.reduceTo(lowPages);
  requests.fitShares();
  expect(writeBack.limitPages).toBe(lowPages);
});

test('a swap device writes as many pages as it owes others, a quarter at a time, and then no more', async () => {
  const parts = await dirtied('overflow');
  const { account, requests, table } = parts;
  account.owedPages += 100;
  requests.fitShares();
  await settled(parts);
  const first = table.count;
  expect(first).toBeLessThanOrEqual(PAGES - 100);
  expect(first).toBeGreaterThanOrEqual(leastOf(PAGES - 100));
  requests.fitShares();
  await settled(parts);
  expect(table.count).toBe(first);
  account.owedPages += 1_000_000;
  requests.fitShares();
  expect(parts.writeBack.limitPages).toBe(first - Math.ceil(first / 4));
  await settled(parts);
  expect(table.count).toBeLessThanOrEqual(first * 0.75);
  expect(table.count).toBeGreaterThanOrEqual(leastOf(first * 0.75));
});

test('what memory lacks is asked in equal parts of those that have dirty pages', async () => {
  const all = [await dirtied('image'), await dirtied('overflow'), await dirtied('image', 0)];
  const requests = new WriteBackRequests(all);
  requests.reduce(200 * PAGE);
  const limits = all.map(({ writeBack }) => writeBack.limitPages);
  expect(limits).toEqual([PAGES - 100, PAGES - 100, 4 * PAGES]);
  for (const parts of all) {
    await settled(parts);
    expect(parts.table.count).toBeLessThanOrEqual(parts.writeBack.limitPages);
  }
});

test('an export whose image refuses writes is asked for no more', async () => {
  const parts = await dirtied('failing image');
  const { account, requests, writeBack, table } = parts;
  account.setShare({ capBytes: Math.floor(account.usedBytes / 2) });
  requests.fitShares();
  const { limitPages } = writeBack;
  expect(limitPages).toBeLessThan(PAGES);
  await until(() => table.troubledCount > 0);
  account.setShare({ capBytes: Math.floor(account.usedBytes / 4) });
  requests.fitShares();
  expect(writeBack.limitPages).toBe(limitPages);
});

test.each(['memory', 'image'] as const)(
  'what an export owes is not asked of one whose pages have nowhere to go, or go by themselves: %s',
  async (kind) => {
    const parts = await dirtied(kind);
    parts.account.owedPages += 1000;
    parts.requests.fitShares();
    await settled(parts);
    expect([parts.table.count, parts.statistics.writtenPages]).toEqual([PAGES, 0]);
  },
);

test('a swap device without an overflow keeps its pages above a cap, and takes writes as before', async () => {
  const parts = await dirtied('memory');
  const { limitPages } = parts.writeBack;
  parts.account.setShare({ capBytes: 0 });
  parts.requests.fitShares();
  parts.requests.reduce(MIB);
  await settled(parts);
  expect([parts.table.count, parts.writeBack.limitPages]).toEqual([PAGES, limitPages]);
});
