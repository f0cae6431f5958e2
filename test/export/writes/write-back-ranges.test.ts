import { describe, expect, test } from 'vitest';
import { rawImage } from '../../../src/image/raw.ts';
import type { StorageExtent } from '../../../src/storage/storage.ts';
import { NoOverflow } from '../../../src/swap/no-overflow.ts';
import { gatedImage } from '../../image/qcow2/gated.ts';
import { openOn } from '../../image/qcow2/images.ts';
import { MemoryStorage } from '../../storage/memory-storage.ts';
import { turnsWhile } from '../../tools/turns.ts';
import { KIB, MIB, noise, quiet, read } from '../fixture.ts';
import { SteppedStorage } from '../stepped-storage.ts';
import { makeWriteBack, writeAtOnce, writeBackOn } from './write-back-fixture.ts';

const PAGE = 4 * KIB;
/** Nothing is written before somebody asks for it. */
const LAZY = { ageMsMax: Number.POSITIVE_INFINITY, highFraction: 2 };

const zeros = (bytes: number): Buffer => Buffer.alloc(bytes);

/** An export with pages 0 to 5 dirty. */
async function makeDirty(sizeBytes = MIB) {
  const parts = makeWriteBack({ sizeBytes, tuning: LAZY });
  const data = noise(Math.min(sizeBytes, 6 * PAGE), 40);
  await writeAtOnce(parts, 0, data);
  return { ...parts, data, pages: () => parts.frontswap.pool.indexesOf(0).length };
}

describe('zeroes over dirty pages', () => {
  test('free their memory when the disk has them, and are read', async () => {
    const parts = await makeDirty();
    const hold = parts.storage.holdNext('writeZeroes');
    const zeroed = parts.target.writeZeroes(PAGE, 3 * PAGE, false);
    await hold.arrived;
    expect((await read(parts, 0, 6 * PAGE)).equals(parts.data)).toBe(true);
    hold.release();
    await zeroed;
    expect([parts.table.count, parts.pages()]).toEqual([3, 3]);
    expect((await read(parts, PAGE, 3 * PAGE)).equals(zeros(3 * PAGE))).toBe(true);
    await parts.target.sync();
    expect(parts.disk.subarray(PAGE, 4 * PAGE).equals(zeros(3 * PAGE))).toBe(true);
    expect(parts.disk.subarray(0, PAGE).equals(parts.data.subarray(0, PAGE))).toBe(true);
  });

  test('of which they cover a part change that part', async () => {
    const parts = await makeDirty();
    await parts.target.writeZeroes(PAGE - 512, 3 * PAGE, true);
    const expected = Buffer.from(parts.data);
    expected.fill(0, PAGE - 512, 4 * PAGE - 512);
    expect((await read(parts, 0, 6 * PAGE)).equals(expected)).toBe(true);
    await parts.target.sync();
    expect(parts.disk.subarray(0, 6 * PAGE).equals(expected)).toBe(true);
  });

  test('of which they cover a part, and that memory does not take again, go to the disk', async () => {
    let isFull = false;
    const options = { hasHot: false, mayAllocate: () => !isFull };
    const parts = makeWriteBack({ tuning: LAZY, ...options });
    const expected = noise(PAGE, 40);
    await writeAtOnce(parts, 0, expected);
    isFull = true;
    await parts.target.writeZeroes(512, 1024, true);
    expected.fill(0, 512, 1536);
    expect((await read(parts, 0, PAGE)).equals(expected)).toBe(true);
    expect(parts.disk.subarray(0, PAGE).equals(expected)).toBe(true);
    expect([parts.table.count, parts.writerBuffers.lentBytes]).toEqual([0, 0]);
  });

  test('that fail keep what was there', async () => {
    const parts = await makeDirty();
    parts.storage.failNext('writeZeroes', 'ENOSPC');
    await expect(parts.target.writeZeroes(0, 4 * PAGE, false)).rejects.toMatchObject({
      kind: 'no-space',
    });
    expect(parts.table.count).toBe(6);
    await parts.target.sync();
    expect(parts.disk.subarray(0, 6 * PAGE).equals(parts.data)).toBe(true);
  });

  test('that must be fast and can not be keep what was there', async () => {
    const parts = await makeDirty();
    parts.storage.inner.writeZeroes = () => Promise.reject(new Error('slow'));
    await expect(parts.target.writeZeroes(0, 4 * PAGE, false, true)).rejects.toThrow('slow');
    expect((await read(parts, 0, 6 * PAGE)).equals(parts.data)).toBe(true);
  });
});

describe('a trim over dirty pages', () => {
  test('frees the whole ones, and what they held does not come back', async () => {
    const parts = await makeDirty();
    await parts.target.trim(PAGE - 512, 3 * PAGE);
    expect([1, 2].map((page) => parts.table.has(page))).toEqual([false, false]);
    expect([parts.table.count, parts.pages()]).toEqual([4, 4]);
    const trimmed = await read(parts, PAGE, 2 * PAGE);
    expect(trimmed.equals(parts.disk.subarray(PAGE, 3 * PAGE))).toBe(true);
    await parts.target.sync();
    expect(trimmed.equals(parts.disk.subarray(PAGE, 3 * PAGE))).toBe(true);
    const around = [parts.disk.subarray(0, PAGE - 512), parts.disk.subarray(4 * PAGE, 6 * PAGE)];
    const expected = [parts.data.subarray(0, PAGE - 512), parts.data.subarray(4 * PAGE)];
    expect(Buffer.concat(around).equals(Buffer.concat(expected))).toBe(true);
  });

  test('of the whole disk takes its last page, which is no whole one, too', async () => {
    const size = 5 * PAGE + 512;
    const parts = await makeDirty(size);
    await parts.target.trim(0, size);
    expect([parts.table.count, parts.pages(), parts.tier.isEmpty]).toEqual([0, 0, true]);
  });

  test('leaves those that the image cannot give up, since what it has of them is older', async () => {
    const storage = await gatedImage(MIB, { cluster_size: '16k' });
    const image = await openOn(storage);
    await image.write(noise(12 * PAGE, 1), 0, 12 * PAGE, 0);
    const parts = writeBackOn(storage, { image, tuning: LAZY });
    const data = noise(12 * PAGE, 2);
    await writeAtOnce(parts, 0, data);
    await parts.target.trim(PAGE, 10 * PAGE); // of three units the one in the middle
    const given = zeros(4 * PAGE);
    const expected = Buffer.concat([data.subarray(0, 4 * PAGE), given, data.subarray(8 * PAGE)]);
    expect((await read(parts, 0, 12 * PAGE)).equals(expected)).toBe(true);
    await parts.target.sync();
    const written = Buffer.alloc(12 * PAGE);
    await image.read(written, 0, written.length, 0);
    expect(written.equals(expected)).toBe(true);
    await image.close();
  });

  test('leaves those over a base, where the image above has nothing to give up', async () => {
    const storage = await gatedImage(MIB, { cluster_size: '16k' });
    const backing = () => rawImage(new MemoryStorage(noise(MIB, 1)), 'base');
    const image = await openOn(storage, { backing });
    const parts = writeBackOn(storage, { image, tuning: LAZY });
    const data = noise(4 * PAGE, 2);
    await writeAtOnce(parts, 0, data);
    await parts.target.trim(0, 4 * PAGE);
    expect((await read(parts, 0, 4 * PAGE)).equals(data)).toBe(true);
    await image.close();
  });

  test('waits for what is under way, and is not undone by it', async () => {
    const storage = new SteppedStorage(noise(MIB));
    const parts = writeBackOn(storage, { tuning: LAZY });
    await writeAtOnce(parts, 0, noise(2 * PAGE, 3));
    const synced = parts.target.sync();
    await quiet();
    const trimmed = parts.target.trim(0, MIB);
    await quiet();
    expect(storage.steps.map(({ what }) => what)).toEqual(['write changes bytes']);
    while (storage.steps.length > 0) await storage.step(0);
    await Promise.all([synced, trimmed]);
    expect([parts.table.count, parts.cache.has(0), parts.cache.has(1)]).toEqual([0, false, false]);
    expect(storage.disk.equals(Buffer.alloc(MIB, 0xee))).toBe(true);
  });

  test('that fails halfway leaves no clean page that the disk does not have', async () => {
    const storage = new SteppedStorage(noise(MIB));
    const parts = writeBackOn(storage, { tuning: LAZY });
    await writeAtOnce(parts, 0, noise(2 * PAGE, 3));
    const synced = parts.target.sync().catch(String);
    await quiet();
    storage.fateOf = () => 'fails halfway';
    const trimmed = parts.target.trim(0, MIB).catch(String);
    await quiet();
    while (storage.steps.length > 0) await storage.step(0);
    await synced;
    expect(await trimmed).toMatch('as the test wants');
    expect([parts.cache.has(0), parts.cache.has(1)]).toEqual([false, false]);
  });

  test('of nothing does nothing', async () => {
    const parts = await makeDirty();
    await parts.target.trim(PAGE, 0);
    expect([parts.table.count, parts.storage.requests.discard]).toEqual([6, 0]);
  });
});

describe('allocation', () => {
  /** An image that is one hole. */
  function makeHole() {
    const parts = makeWriteBack({ tuning: LAZY });
    parts.disk.fill(0);
    const hole = (length: number): StorageExtent => ({ length, isHole: true });
    parts.storage.inner.extent = async (_offset, length) => hole(length);
    Object.assign(parts.storage.inner.supports, { extents: true });
    return parts;
  }
  const whole = { depth: 0, isAllocated: true };
  const hole = { isHole: true, isZero: true, ...whole };
  const data = { isHole: false, isZero: false, ...whole };

  test('shows what is dirty over a hole as data', async () => {
    const parts = makeHole();
    for (const page of [0, 4, 5]) await writeAtOnce(parts, page * PAGE, noise(PAGE, 3));
    expect(await parts.target.extents.list(512, 10 * PAGE, 100)).toMatchObject([
      { length: PAGE - 512, ...data },
      { length: 3 * PAGE, ...hole },
      { length: 2 * PAGE, ...data },
      { length: 4 * PAGE + 512, ...hole },
    ]);
  });

  test('leaves turns to others while a long one is searched for what is dirty', async () => {
    const sizeBytes = 4096 * MIB;
    const parts = writeBackOn(new NoOverflow('disk', sizeBytes), { tuning: LAZY });
    await writeAtOnce(parts, sizeBytes - PAGE, noise(PAGE, 3));
    const turns = await turnsWhile(async () => {
      expect(await parts.target.extents.list(0, sizeBytes - 512, 100)).toMatchObject([
        { length: sizeBytes - PAGE, ...hole },
        { length: PAGE - 512, ...data },
      ]);
    });
    expect(turns).toBeGreaterThanOrEqual(15);
  });

  test('shows what is dirty over zeros as data', async () => {
    const parts = makeWriteBack({ tuning: LAZY });
    const zeros = { isHole: false, isZero: true, isCompressed: false, ...whole };
    parts.target.image.extent = async (_offset, length) => ({ length, ...zeros });
    await writeAtOnce(parts, 4 * PAGE, noise(PAGE, 3));
    expect(await parts.target.extents.list(0, 6 * PAGE, 100)).toMatchObject([
      { length: 4 * PAGE, ...zeros },
      { length: PAGE, ...data },
      { length: PAGE, ...zeros },
    ]);
  });

  test('shows what became clean while the image was asked as data', async () => {
    const parts = makeHole();
    await writeAtOnce(parts, 0, noise(PAGE, 3));
    let isHole = true;
    const hold = parts.storage.holdNext('extent');
    parts.storage.inner.extent = async (_offset, length) => ({ length, isHole });
    const ask = parts.target.image.extent.bind(parts.target.image);
    // The answer is that of the moment of the question.
    parts.target.image.extent = async (offset, length) => {
      const before = { isHole, isZero: isHole, ...whole };
      return { ...(await ask(offset, length)), ...before, length };
    };
    const asked = parts.target.extents.list(0, PAGE, 1);
    await hold.arrived;
    await parts.target.sync();
    isHole = false;
    hold.release();
    expect(await asked).toMatchObject([{ length: PAGE, ...data }]);
  });

  test('calls data what the image is never asked about in peace, and does not ask for ever', async () => {
    const parts = makeHole();
    let asked = 0;
    parts.target.image.extent = async (_offset, length) => {
      asked++;
      await writeAtOnce(parts, 8 * PAGE, noise(PAGE, asked));
      await parts.target.sync();
      return { length, ...hole, isCompressed: false };
    };
    const all = { length: 2 * PAGE - 512, ...data };
    expect(await parts.target.extents.list(512, 2 * PAGE - 512, 100)).toMatchObject([all]);
    expect(asked).toBeLessThanOrEqual(8);
  });
});

/** Pages that are dirty at once. */
const PEAK = 60_000;

test.each([
  { what: 'leaves turns to others while that is searched', dirty: PEAK, least: 12, most: 20 },
  { what: 'is done soon where it once had many and has few', dirty: 1, least: 0, most: 5 },
])('a trim of more than the table $what', async ({ dirty, least, most }) => {
  const sizeBytes = 4096 * MIB;
  const options = { tuning: LAZY, limitPages: PEAK + 1 };
  const parts = writeBackOn(new NoOverflow('disk', sizeBytes), options);
  const { table } = parts;
  await writeAtOnce(parts, sizeBytes - PAGE, noise(PAGE, 3));
  for (let page = 0; page < PEAK; page++) table.mark(page, 0);
  for (let page = dirty; page < PEAK; page++) table.drop(page);
  const start = PEAK * PAGE;
  const turns = await turnsWhile(() => parts.target.trim(start, sizeBytes - start));
  expect(table.count).toBe(dirty);
  expect(turns).toBeGreaterThanOrEqual(least);
  expect(turns).toBeLessThanOrEqual(most);
});
