import { describe, expect, test } from 'vitest';
import { Export } from '../../src/export/export.ts';
import { rawImage } from '../../src/image/raw.ts';
import { turnsWhile } from '../tools/turns.ts';
import { KIB, MIB, makeExport, noise, read, write } from './fixture.ts';
import { makeWriteBack } from './writes/write-back-fixture.ts';

const PAGE = 4 * KIB;

test('a write leaves its whole pages in the cache, and not those it covers in part', async () => {
  const parts = makeExport();
  await read(parts, 0, 8 * PAGE);
  const data = noise(3 * PAGE, 5);
  await write(parts, PAGE + 512, data);
  expect([1, 2, 3, 4].map((page) => parts.cache.has(page))).toEqual([false, true, true, false]);
  const reads = parts.storage.requests.read;
  expect(
    (await read(parts, 2 * PAGE, 2 * PAGE)).equals(data.subarray(PAGE - 512, 3 * PAGE - 512)),
  ).toBe(true);
  expect(parts.storage.requests.read).toBe(reads);
});

test('a failed write leaves nothing stale: the next read shows what the disk has', async () => {
  const parts = makeExport();
  await read(parts, 0, 4 * PAGE);
  parts.storage.shortNext('write');
  await expect(write(parts, 0, noise(4 * PAGE, 5))).rejects.toMatchObject({ kind: 'io' });
  for (let page = 0; page < 4; page++) expect(parts.cache.has(page)).toBe(false);
  expect((await read(parts, 0, 4 * PAGE)).equals(parts.disk.subarray(0, 4 * PAGE))).toBe(true);
  expect(parts.disk.subarray(0, 2 * PAGE).equals(noise(4 * PAGE, 5).subarray(0, 2 * PAGE))).toBe(
    true,
  );
});

test('a full disk is told as such', async () => {
  const parts = makeExport();
  parts.storage.failNext('write', 'ENOSPC');
  await expect(write(parts, 0, noise(PAGE))).rejects.toMatchObject({ kind: 'no-space' });
});

describe('zeroes', () => {
  test('of a few pages are cached, and read without the disk', async () => {
    const parts = makeExport({ hotFraction: 0 });
    await parts.target.writeZeroes(100, 4 * PAGE, false);
    expect(await read(parts, PAGE, 2 * PAGE)).toEqual(Buffer.alloc(2 * PAGE));
    expect(parts.storage.requests.read).toBe(0);
    expect(parts.target.reads.isZero).toBe(true);
    expect((await read(parts, 0, 4 * PAGE)).equals(parts.disk.subarray(0, 4 * PAGE))).toBe(true);
  });

  test('of many pages only leave the cache', async () => {
    const parts = makeExport({ sizeBytes: 8 * MIB });
    parts.cache.put(2000, parts.disk, 0);
    await parts.target.writeZeroes(0, 8 * MIB, true);
    expect(parts.cache.has(2000)).toBe(false);
    expect(parts.cache.has(0)).toBe(false);
    expect(await read(parts, 2000 * PAGE, PAGE)).toEqual(Buffer.alloc(PAGE));
  });

  test('that failed leave nothing cached', async () => {
    const parts = makeExport();
    parts.storage.failNext('writeZeroes');
    await expect(parts.target.writeZeroes(0, PAGE, true)).rejects.toMatchObject({ kind: 'io' });
    expect(parts.cache.has(0)).toBe(false);
  });
});

test('a trimmed range has left the cache before the disk hears of it', async () => {
  const parts = makeExport();
  await read(parts, 0, 4 * PAGE);
  const hold = parts.storage.holdNext('discard');
  const trimmed = parts.target.trim(PAGE + 1, PAGE);
  expect([0, 1, 2, 3].map((page) => parts.cache.has(page))).toEqual([true, false, false, true]);
  hold.release();
  await trimmed;
});

test('others have their turn while a long range leaves the cache', async () => {
  const LARGE = { sizeBytes: 8 * MIB, memoryBytes: 64 * MIB };
  for (const parts of [makeExport(LARGE), makeWriteBack(LARGE)]) {
    for (const change of ['trim', 'writeZeroes'] as const) {
      for (let page = 0; page < 2000; page++) parts.cache.put(page, parts.disk, page * PAGE);
      const turns = await turnsWhile(() => parts.target[change](PAGE, 1998 * PAGE, true));
      expect(turns).toBeGreaterThanOrEqual(7);
      const left = Array.from({ length: 2000 }, (_, page) => page).filter((page) =>
        parts.cache.has(page),
      );
      expect(left).toEqual([0, 1999]);
    }
  }
});

test('a page that was changed is cached again by the next read of it', async () => {
  const parts = makeExport();
  await parts.target.trim(0, PAGE);
  parts.storage.failNext('write');
  await write(parts, PAGE, noise(PAGE)).catch(() => undefined);
  await read(parts, 0, 2 * PAGE);
  expect([parts.cache.has(0), parts.cache.has(1)]).toEqual([true, true]);
});

test('write-around drops what is written from the cache, and keeps none of it', async () => {
  const { storage, cache, buffers, disk } = makeExport();
  const image = rawImage(storage, 'disk');
  const target = new Export({ name: 'disk', image, cache, buffers, mode: 'writearound' });
  const parts = { target, buffers };
  await read(parts, 0, 6 * PAGE);
  const data = noise(3 * PAGE, 5);
  await write(parts, PAGE + 512, data);
  await target.writeZeroes(5 * PAGE, PAGE, true);
  expect([0, 1, 2, 3, 4, 5].map((page) => cache.has(page))).toEqual([
    true,
    ...Array(5).fill(false),
  ]);
  expect((await read(parts, PAGE + 512, 3 * PAGE)).equals(data)).toBe(true);
  expect((await read(parts, 0, 6 * PAGE)).equals(disk.subarray(0, 6 * PAGE))).toBe(true);
});

test('who watches changes hears of each before it begins, or in the turn in which it is made', async () => {
  const LAZY = { ageMsMax: Number.POSITIVE_INFINITY, highFraction: 2 };
  for (const parts of [makeExport(), makeWriteBack({ tuning: LAZY })]) {
    const { target, storage, cache } = parts;
    const heard: number[][] = [];
    target.watchChanges((first, count) => heard.push([first, count]));
    if (target.mode === 'writeback') {
      expect(target.tryWrite(3 * PAGE, 2 * PAGE, noise(2 * PAGE), 0)).toBe(true);
      expect(heard.splice(0)).toEqual([[3, 2]]);
    }
    storage.onWrite = () => {
      expect(heard).toHaveLength(1);
    };
    await write(parts, PAGE + 1, noise(2 * PAGE));
    expect(heard.splice(0)).toEqual([[1, 3]]);
    await target.trim(8 * PAGE, 1);
    expect(heard.splice(0)).toEqual([[8, 1]]);
    await target.writeZeroes(0, 2 * PAGE, true);
    expect(heard.splice(0)).toEqual([[0, 2]]);
    target.watchChanges(undefined);
    await target.trim(0, PAGE);
    expect([heard, cache.has(0)]).toEqual([[], false]);
  }
});

test('a change of nothing does nothing', async () => {
  const parts = makeExport();
  await read(parts, 0, PAGE);
  await parts.target.trim(5, 0);
  await parts.target.writeZeroes(5, 0, true);
  expect(parts.cache.has(0)).toBe(true);
  expect(parts.storage.requests).toMatchObject({ discard: 0, writeZeroes: 0 });
});
