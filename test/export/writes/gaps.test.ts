/** Clean pages that are written along with the dirty ones around them. */

import { expect, test } from 'vitest';
import { KIB, noise, quiet, read, write } from '../fixture.ts';
import { makeWriteBack, type WriteBackOptions } from './write-back-fixture.ts';

const PAGE = 4 * KIB;
/** Nothing is written before somebody asks for it. */
const LAZY = { ageMsMax: Number.POSITIVE_INFINITY, highFraction: 2 };

const newer = (page: number): Buffer => noise(PAGE, page + 1000);

/** An export that notes its writes, as first page and count. */
function noting(options: WriteBackOptions = {}) {
  const parts = makeWriteBack({ tuning: LAZY, ...options });
  const writes: [number, number][] = [];
  parts.storage.onWrite = (offset, length) => {
    writes.push([offset / PAGE, length / PAGE]);
  };
  const dirty = (...pages: number[]): void => {
    for (const page of pages) {
      expect(parts.target.tryWrite(page * PAGE, PAGE, newer(page), 0)).toBe(true);
    }
  };
  return { ...parts, writes, dirty };
}

const bytesOf = (disk: Buffer, page: number): Buffer =>
  disk.subarray(page * PAGE, (page + 1) * PAGE);

test('a gap of four pages that are in memory is closed, in both directions', async () => {
  const parts = noting();
  await read(parts, 0, 32 * PAGE);
  const before = Buffer.from(parts.disk);
  parts.dirty(20, 15, 10, 11);
  await parts.target.sync();
  expect(parts.writes).toEqual([[10, 11]]);
  for (let page = 0; page < 32; page++) {
    const isWritten = [10, 11, 15, 20].includes(page);
    expect(bytesOf(parts.disk, page).equals(isWritten ? newer(page) : bytesOf(before, page))).toBe(
      true,
    );
  }
  expect(parts.writer.statistics).toMatchObject({ writtenPages: 4, cleanPages: 7, runs: 1 });
  expect(parts.table.count).toBe(0);
});

test('one of five is not, nor what is behind the last dirty page', async () => {
  const parts = noting();
  await read(parts, 0, 32 * PAGE);
  parts.dirty(4, 10);
  await parts.target.sync();
  expect(parts.writes).toEqual([
    [4, 1],
    [10, 1],
  ]);
});

test.each([
  [8, 2],
  [16, 1],
  [64, 0],
])('of pages of %i KiB at most %i are', async (kib, gapPages) => {
  const pageBytes = kib * KIB;
  const parts = makeWriteBack({ tuning: LAZY, pageBytes, sizeBytes: 16 * pageBytes });
  const writes: number[][] = [];
  parts.storage.onWrite = (offset, length) => {
    writes.push([offset / pageBytes, length / pageBytes]);
  };
  for (let page = 0; page < 16; page++) await read(parts, page * pageBytes, pageBytes);
  const other = 2 + gapPages;
  for (const page of [1, other, other + gapPages + 2]) {
    const bytes = noise(pageBytes, page);
    expect(parts.target.tryWrite(page * pageBytes, pageBytes, bytes, 0)).toBe(true);
  }
  await parts.target.sync();
  expect(writes).toEqual([
    [1, other],
    [other + gapPages + 2, 1],
  ]);
});

test('nor any where it is bytes that a write costs', async () => {
  const parts = noting({ tuning: { ...LAZY, closesGaps: false } });
  await read(parts, 0, 8 * PAGE);
  parts.dirty(1, 3, 4);
  await parts.target.sync();
  expect(parts.writes).toEqual([
    [1, 1],
    [3, 2],
  ]);
});

test('nor one with a page that is not in memory, or is of the same bytes throughout', async () => {
  const parts = noting();
  parts.disk.fill(0, 5 * PAGE, 6 * PAGE);
  parts.disk.fill(0x5a, 15 * PAGE, 16 * PAGE);
  await read(parts, 0, 32 * PAGE);
  parts.cache.flush(25, 1);
  parts.dirty(4, 6, 14, 16, 24, 26);
  await parts.target.sync();
  expect(parts.writes).toEqual([4, 6, 14, 16, 24, 26].map((page) => [page, 1]));
});

test('pages that are compressed are written along too, and it is no use of them', async () => {
  const parts = noting({ hasHot: false });
  parts.disk.fill('page by page ', 0, 8 * PAGE);
  await read(parts, 0, 8 * PAGE);
  const hits = (): number[] => [parts.cache.hits, parts.tmem.layers[0]!.statistics.hits];
  const before = hits();
  parts.dirty(1, 4);
  await parts.target.sync();
  expect(parts.writes).toEqual([[1, 4]]);
  expect(hits()).toEqual(before);
});

test('while room is made they are closed, when pages go for their age they are not', async () => {
  const parts = noting({ limitPages: 10, tuning: { highFraction: 0.5, lowFraction: 0.1 } });
  await read(parts, 0, 32 * PAGE);
  parts.dirty(2, 4);
  parts.clock.turn(5000);
  await quiet();
  parts.dirty(1, 3, 7, 9, 20);
  await quiet();
  expect(parts.writes).toEqual([
    [2, 1],
    [4, 1],
    [1, 9],
  ]);
});

test('when room has been made, no more is until there are too many again', async () => {
  const parts = noting({
    limitPages: 8,
    tuning: { ...LAZY, highFraction: 0.5, lowFraction: 0.25 },
  });
  parts.dirty(1, 10, 20, 30);
  await quiet();
  parts.dirty(25);
  await quiet();
  expect(parts.writes).toEqual([
    [1, 1],
    [10, 1],
  ]);
});

test('they are closed for a write that waits for room too', async () => {
  const parts = noting({ limitPages: 4 });
  await read(parts, 0, 32 * PAGE);
  parts.dirty(1, 3, 10, 20);
  await write(parts, 30 * PAGE, newer(30));
  expect(parts.writes).toEqual([[1, 3]]);
});

test('pages before the one that was written longest ago go with it, gaps and all', async () => {
  const parts = noting({ limitPages: 8, tuning: { highFraction: 0.5, lowFraction: 0.375 } });
  await read(parts, 0, 32 * PAGE);
  parts.dirty(13, 7, 12, 1);
  await quiet();
  expect(parts.writes).toEqual([[7, 7]]);
});

test.each([
  { step: 1, expected: [8, 64] },
  { step: 2, expected: [80, 63] },
])('but no more than fit one write, of every page in $step', async ({ step, expected }) => {
  const tuning = { highFraction: 72 / 128, lowFraction: 71 / 128 };
  const parts = noting({ limitPages: 128, tuning });
  parts.disk.fill('page by page ');
  for (let page = 0; page < 160; page += 32) await read(parts, page * PAGE, 32 * PAGE);
  parts.dirty(71 * step);
  for (let page = 0; page < 71; page++) parts.dirty(page * step);
  await quiet();
  expect(parts.writes).toEqual([expected]);
});

test('a page written again while it is written along goes after that, not beside it', async () => {
  const parts = noting({ limitPages: 4, tuning: { highFraction: 0.5, lowFraction: 0 } });
  await read(parts, 0, 32 * PAGE);
  const hold = parts.storage.holdNext('write');
  parts.dirty(1, 3);
  await hold.arrived;
  parts.dirty(2, 5);
  expect((await read(parts, 2 * PAGE, PAGE)).equals(newer(2))).toBe(true);
  await quiet();
  expect(parts.writes).toEqual([[5, 1]]);
  hold.release();
  await parts.target.sync();
  expect(parts.writes).toEqual([
    [5, 1],
    [2, 1],
  ]);
  for (const page of [1, 2, 3, 5]) expect(bytesOf(parts.disk, page).equals(newer(page))).toBe(true);
});

/** Has a write of pages 1 to 3 under way, of which the second is clean, and a FLUSH that waits for it. */
async function underWay(parts: ReturnType<typeof noting>) {
  parts.dirty(1, 3);
  const hold = parts.storage.holdNext('write');
  const synced = parts.target.sync();
  await hold.arrived;
  return { hold, synced };
}

test('a trim of a page that is written along waits for the end of that', async () => {
  const parts = noting();
  await read(parts, 0, 32 * PAGE);
  const { hold, synced } = await underWay(parts);
  let isTrimmed = false;
  const trimmed = parts.target.writeZeroes(2 * PAGE, PAGE, true).then(() => {
    isTrimmed = true;
  });
  await quiet();
  expect(isTrimmed).toBe(false);
  hold.release();
  await Promise.all([synced, trimmed]);
  expect(bytesOf(parts.disk, 2).equals(Buffer.alloc(PAGE))).toBe(true);
  expect((await read(parts, 2 * PAGE, PAGE)).equals(Buffer.alloc(PAGE))).toBe(true);
});

test.each([
  [0, 2, true],
  [0, 8, true],
  [3, 4, true],
  [0, 1, false],
  [4, 4, false],
])(
  'one from page %i on, of %i pages, waits for a write of pages 1 to 3: %s',
  async (first, count, waits) => {
    const parts = noting();
    await read(parts, 0, 8 * PAGE);
    const { hold, synced } = await underWay(parts);
    let isTrimmed = false;
    const trimmed = parts.target.trim(first * PAGE, count * PAGE).then(() => {
      isTrimmed = true;
    });
    await quiet();
    expect(isTrimmed).toBe(!waits);
    hold.release();
    await Promise.all([synced, trimmed]);
  },
);

test('a page that a trim waits for is not written along once more', async () => {
  const parts = noting({ limitPages: 4, tuning: { highFraction: 0.5, lowFraction: 0 } });
  await read(parts, 0, 32 * PAGE);
  const hold = parts.storage.holdNext('write');
  parts.dirty(1, 3);
  await hold.arrived;
  const trimmed = parts.target.trim(2 * PAGE, PAGE);
  parts.dirty(1, 3);
  hold.release();
  await trimmed;
  await quiet();
  expect(parts.writes).toEqual([
    [1, 1],
    [3, 1],
  ]);
});

test('what the image refuses for a clean page fails no FLUSH, which has it whole again when it ends', async () => {
  for (const [kind, isTorn] of [
    ['EIO', true],
    ['ENOSPC', false],
  ] as const) {
    const parts = noting();
    await read(parts, 0, 32 * PAGE);
    const before = Buffer.from(bytesOf(parts.disk, 3));
    parts.dirty(1, 2, 4);
    if (isTorn) parts.disk.fill(0, 3 * PAGE, 4 * PAGE);
    parts.storage.failNext('write', kind);
    await parts.target.sync();
    expect(parts.writes).toEqual([[1, 2], [4, 1], ...(isTorn ? [[3, 1]] : [])]);
    expect([1, 2, 3, 4].some((page) => parts.table.has(page))).toBe(false);
    expect([parts.writer.statistics.failures, parts.failures.length]).toEqual([1, 0]);
    expect(bytesOf(parts.disk, 3).equals(before)).toBe(true);
    for (const page of [1, 2, 4]) expect(bytesOf(parts.disk, page).equals(newer(page))).toBe(true);
  }
});

test('nor is more written without such a page than was taken, in a write that is as long as one may be', async () => {
  const parts = noting();
  for (const page of [0, 32, 64]) await read(parts, page * PAGE, 32 * PAGE);
  const pages = Array.from({ length: 70 }, (_, page) => page).filter((page) => page !== 3);
  parts.dirty(...pages);
  parts.storage.failNext('write');
  await parts.target.sync();
  expect(parts.writes.sort(([a], [b]) => a - b)).toEqual([
    [0, 3],
    [3, 1],
    [4, 60],
    [64, 6],
  ]);
  for (const page of pages) expect(bytesOf(parts.disk, page).equals(newer(page))).toBe(true);
});

test('after a failure each page goes alone, and what was written along counts as dirty', async () => {
  const parts = noting();
  await read(parts, 0, 32 * PAGE);
  parts.dirty(1, 3);
  parts.storage.failNext('write', 'EIO', 2);
  await expect(parts.target.sync()).rejects.toMatchObject({ kind: 'io' });
  expect(parts.failures.at(-1)).toMatchObject({ offset: PAGE, length: 3 * PAGE });
  expect([0, 1, 2, 3, 4].map((page) => parts.table.has(page))).toEqual([
    ...[false, true, true, true, false],
  ]);
  const before = noise(32 * PAGE);
  parts.disk.fill(0, 2 * PAGE, 3 * PAGE); // as a write that failed may have left it
  expect((await read(parts, 2 * PAGE, PAGE)).equals(bytesOf(before, 2))).toBe(true);
  await parts.target.sync();
  expect([...parts.writes].sort()).toEqual([
    [1, 1],
    [2, 1],
    [3, 1],
  ]);
  expect(bytesOf(parts.disk, 2).equals(bytesOf(before, 2))).toBe(true);
});

test('a page that was written again while it was written along keeps what is newer', async () => {
  const parts = noting();
  await read(parts, 0, 32 * PAGE);
  parts.dirty(1, 3);
  let isWritten = false;
  parts.storage.onWrite = () => {
    if (isWritten) return;
    isWritten = true;
    parts.dirty(2);
    throw new Error('injected');
  };
  await parts.target.sync();
  await parts.target.sync();
  expect(bytesOf(parts.disk, 2).equals(newer(2))).toBe(true);
});

test('a page that the image refused rests, whatever goes beside it', async () => {
  const parts = noting({ limitPages: 4, tuning: { highFraction: 0.5, lowFraction: 0.25 } });
  parts.dirty(1);
  parts.storage.failNext('write');
  await expect(parts.target.sync()).rejects.toMatchObject({ kind: 'io' });
  parts.dirty(2);
  await quiet();
  expect(parts.writes).toEqual([[2, 1]]);
  expect(parts.table.failedCount).toBe(1);
});

test('a dirty page that was lost in memory takes none of its neighbours with it', async () => {
  const parts = noting();
  await read(parts, 0, 32 * PAGE);
  parts.dirty(1, 3, 5);
  parts.frontswap.flush(3);
  await expect(parts.target.sync()).rejects.toMatchObject({ kind: 'io' });
  expect(parts.writes).toEqual([
    [1, 1],
    [5, 1],
  ]);
});

test('nor does one alone begin a write', async () => {
  const parts = noting();
  await read(parts, 0, 8 * PAGE);
  parts.dirty(3);
  parts.frontswap.flush(3);
  await expect(parts.target.sync()).rejects.toMatchObject({ kind: 'io' });
  expect(parts.writer.statistics.runs).toBe(0);
  expect(parts.writerBuffers.lentBytes).toBe(0);
});

test('nor what is before it, from where the coldest page is', async () => {
  const parts = noting({ limitPages: 10, tuning: { highFraction: 0.3, lowFraction: 0.2 } });
  await read(parts, 0, 32 * PAGE);
  parts.dirty(5, 3);
  parts.frontswap.flush(3);
  parts.dirty(1);
  await quiet();
  expect(parts.writes).toEqual([[5, 1]]);
  expect(bytesOf(parts.disk, 5).equals(newer(5))).toBe(true);
  expect((await read(parts, PAGE, PAGE)).equals(newer(1))).toBe(true);
});
