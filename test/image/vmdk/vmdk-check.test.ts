import { closeSync, openSync, readSync, statSync, truncateSync, writeSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { vmdkDriver } from '../../../src/image/vmdk/driver.ts';
import { MIB, workspace } from '../../tools/workspace.ts';
import { memoryOf, noFile, openSmall, SECTOR, smallImage } from './hand-made.ts';
import { checkFile, contentOf, createVmdkFile, openVmdkFile } from './vmdk-files.ts';

const GRAIN = 65_536;
const CLEAN = { corruptions: 0, leaks: 0, errors: 0 };

/** Reads or writes numbers of 32 bits. */
function peek(file: string, offset: number): number {
  const fd = openSync(file, 'r');
  const bytes = Buffer.alloc(4);
  readSync(fd, bytes, 0, 4, offset);
  closeSync(fd);
  return bytes.readUInt32LE(0);
}

function poke(file: string, offset: number, value: number): void {
  const fd = openSync(file, 'r+');
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value, 0);
  writeSync(fd, bytes, 0, 4, offset);
  closeSync(fd);
}

/** Four grains of the disk are there: 0 to 3. */
async function written(settings: Record<string, string> = {}): Promise<string> {
  const file = path.join(workspace(), 'disk.vmdk');
  await createVmdkFile(file, 40 * MIB, settings);
  const image = await openVmdkFile(file, false);
  for (let grain = 0; grain < 4; grain++) {
    await image.write(Buffer.alloc(GRAIN, grain + 1), 0, GRAIN, grain * GRAIN);
  }
  await image.sync();
  await image.close();
  return file;
}

/** Where directories and first tables are. */
function places(file: string) {
  const redundant = peek(file, 48) * SECTOR;
  const directory = peek(file, 56) * SECTOR;
  const table = peek(file, directory) * SECTOR;
  const copy = peek(file, redundant) * SECTOR;
  return { directory, redundant, table, copy };
}

it('an image that was written is clean, and its tables and copies are alike', async () => {
  const file = await written();
  const { table, copy } = places(file);
  for (let grain = 0; grain < 4; grain++) {
    expect(peek(file, table + grain * 4)).toBeGreaterThan(1);
    expect(peek(file, copy + grain * 4)).toBe(peek(file, table + grain * 4));
  }
  expect(await checkFile(file)).toMatchObject({ ...CLEAN, allocatedUnits: 4, totalUnits: 640 });
});

describe('the check finds', () => {
  it.each([
    ['a grain behind the end of the file', 0x00ff_0000],
    ['a grain among the tables', 3],
    ['a mark for zeros where there may be none', 1],
  ])('%s, and takes the copy', async (_name, value) => {
    const file = await written();
    poke(file, places(file).table + 4, value);
    expect(await checkFile(file)).toMatchObject({ ...CLEAN, corruptions: 1 });
    expect(await checkFile(file, 'leaks')).toMatchObject({ corruptions: 1, corruptionsFixed: 0 });
    expect(await checkFile(file, 'all')).toMatchObject({ ...CLEAN, corruptionsFixed: 1 });
    expect((await contentOf(file))[GRAIN]).toBe(2);
    expect(await checkFile(file)).toMatchObject(CLEAN);
  });

  it('one grain in two places of the disk, and takes the copy', async () => {
    const file = await written();
    const { table } = places(file);
    poke(file, table + 4, peek(file, table));
    expect((await checkFile(file)).corruptions).toBe(2);
    expect(await checkFile(file, 'all')).toMatchObject(CLEAN);
    expect((await contentOf(file))[GRAIN]).toBe(2);
  });

  it('grains that overlap by half, which nothing can mend', async () => {
    const file = await written();
    const { table, copy } = places(file);
    for (const at of [table + 4, copy + 4]) poke(file, at, peek(file, table) + 64);
    const report = await checkFile(file, 'all');
    expect(report.corruptions).toBeGreaterThanOrEqual(2);
    expect(report.corruptionsFixed).toBe(0);
  });

  it('a copy that says something else, as a leak', async () => {
    const file = await written();
    const { table, copy } = places(file);
    poke(file, copy + 8, 0);
    expect(await checkFile(file)).toMatchObject({ ...CLEAN, leaks: 1 });
    expect(await checkFile(file, 'leaks')).toMatchObject({ ...CLEAN, leaksFixed: 1 });
    expect(peek(file, copy + 8)).toBe(peek(file, table + 8));
  });

  it('a table that is not in the file, and makes a new one from the copy', async () => {
    const file = await written();
    poke(file, places(file).directory, 0x00ff_0000);
    expect(await checkFile(file)).toMatchObject({ ...CLEAN, corruptions: 1 });
    expect(await checkFile(file, 'all')).toMatchObject({ ...CLEAN, corruptionsFixed: 1 });
    expect((await contentOf(file))[3 * GRAIN]).toBe(4);
  });

  it('a copy of a table that is not in the file, and makes a new one from the table', async () => {
    const file = await written();
    poke(file, places(file).redundant, 0x00ff_0000);
    expect(await checkFile(file, 'leaks')).toMatchObject({ ...CLEAN, corruptionsFixed: 1 });
    const { table, copy } = places(file);
    expect(peek(file, copy)).toBe(peek(file, table));
  });

  it('two tables in one place', async () => {
    const file = await written();
    const { directory } = places(file);
    poke(file, directory, peek(file, directory + 4));
    expect((await checkFile(file)).corruptions).toBeGreaterThan(0);
    await expect(openVmdkFile(file, false)).rejects.toThrow(/grain table lies over another one/);
  });

  it('grains at the end that no table names, and cuts them off', async () => {
    const file = await written();
    const { size } = statSync(file);
    truncateSync(file, size + 3 * GRAIN);
    expect(await checkFile(file)).toMatchObject({ ...CLEAN, leaks: 3 });
    expect(await checkFile(file, 'leaks')).toMatchObject({ ...CLEAN, leaksFixed: 3 });
    expect(statSync(file).size).toBe(size);
  });

  it('a file that was cut within its last grain', async () => {
    const file = await written();
    truncateSync(file, statSync(file).size - SECTOR);
    expect(await checkFile(file)).toMatchObject({ ...CLEAN, corruptions: 1 });
  });

  it('markers of a stream that are of another grain, or too long', async () => {
    const file = path.join(workspace(), 'stream.vmdk');
    await createVmdkFile(file, 10 * MIB, { subformat: 'streamOptimized' });
    const image = await openVmdkFile(file, false);
    for (const at of [0, MIB]) await image.writeCompressed(at, Buffer.alloc(GRAIN, 1));
    await image.sync();
    await image.close();
    expect(await checkFile(file)).toMatchObject({ ...CLEAN, compressedUnits: 2 });
    poke(file, GRAIN, 128);
    expect(await checkFile(file)).toMatchObject({ ...CLEAN, corruptions: 1 });
    poke(file, GRAIN, 0);
    poke(file, GRAIN + 8, 2 * GRAIN - 11);
    expect(await checkFile(file)).toMatchObject({ ...CLEAN, corruptions: 1 });
    poke(file, GRAIN + 8, 2000);
    expect(await checkFile(file)).toMatchObject({ ...CLEAN, corruptions: 1 });
  });
});

describe('an extent that was not closed', () => {
  /** Grain 1 is lost in the table, grain 2 in the copy, and grain 3 says a place that is taken. */
  async function unclean(): Promise<string> {
    const file = await written();
    const { table, copy } = places(file);
    poke(file, table + 4, 0);
    poke(file, copy + 8, 0);
    poke(file, table + 12, peek(file, table));
    poke(file, 72, peek(file, 72) | 1);
    return file;
  }

  it.each([true, false])('is read by the better of both entries, read-only: %s', async (isRead) => {
    const file = await unclean();
    const image = await openVmdkFile(file, isRead);
    const content = Buffer.alloc(4 * GRAIN);
    await image.read(content, 0, content.length, 0);
    expect([0, 1, 2, 3].map((grain) => content[grain * GRAIN])).toEqual([1, 2, 3, 4]);
    await image.close();
    expect(peek(file, 72) & 1).toBe(isRead ? 1 : 0);
    if (!isRead) expect(await checkFile(file)).toMatchObject(CLEAN);
  });

  it('is mended by a repair', async () => {
    const file = await unclean();
    expect(await checkFile(file, 'all')).toMatchObject(CLEAN);
    const content = await contentOf(file);
    expect([0, 1, 2, 3].map((grain) => content[grain * GRAIN])).toEqual([1, 2, 3, 4]);
    expect(peek(file, 72) & 1).toBe(0);
  });
});

it('tables that there are not cost the check of a large disk nothing, and count as done', async () => {
  const tableCount = 100;
  const capacitySectors = tableCount * 8 * 8;
  const storage = memoryOf(smallImage({ capacitySectors, hasTables: false }));
  const image = await openSmall(storage);
  await image.write(Buffer.alloc(SECTOR, 1), 0, SECTOR, 7 * 8 * 8 * SECTOR);
  await image.sync();
  const progress: number[][] = [];
  const onProgress = (...each: number[]) => void progress.push(each);
  const report = await vmdkDriver.check?.(storage, { openFile: noFile, onProgress });
  expect(report).toMatchObject({ ...CLEAN, allocatedUnits: 1 });
  expect(progress).toEqual([7, 107, 200].map((done) => [done, 2 * tableCount]));
});
