import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { expect, it } from 'vitest';
import { workspace } from '../../tools/workspace.ts';
import { expectSame } from '../appended/image-model.ts';
import { contentOf, openVmdkFile } from './vmdk-files.ts';

const SECTOR = 512;

/** A descriptor of these extents, in a folder of its own. */
function describeIn(folder: string, type: string, ...extents: string[]): string {
  const file = path.join(folder, 'disk.vmdk');
  const lines = ['# Disk DescriptorFile', 'version=1', 'CID=7', 'parentCID=ffffffff'];
  writeFileSync(file, [...lines, `createType="${type}"`, ...extents, ''].join('\n'));
  return file;
}

it('a redo log of ESX is read, and only read', async () => {
  const folder = workspace();
  const content = Buffer.alloc(5000 * SECTOR);
  // Header, directory of two tables in sector 4, tables in 5 and 37, grains of one sector after.
  const log = Buffer.alloc(72 * SECTOR);
  log.write('COWD');
  for (const [index, value] of [1, 3, 5000, 1, 4, 2, 72].entries()) {
    log.writeUInt32LE(value, 4 + 4 * index);
  }
  log.writeUInt32LE(5, 4 * SECTOR);
  log.writeUInt32LE(37, 4 * SECTOR + 4);
  for (const [sector, grain] of [0, 4095, 4999].entries()) {
    const table = grain < 4096 ? 5 : 37;
    log.writeUInt32LE(69 + sector, table * SECTOR + (grain % 4096) * 4);
    log.fill(sector + 1, (69 + sector) * SECTOR, (70 + sector) * SECTOR);
    content.fill(sector + 1, grain * SECTOR, (grain + 1) * SECTOR);
  }
  writeFileSync(path.join(folder, 'disk-delta.vmdk'), log);
  const file = describeIn(folder, 'vmfsSparse', 'RW 5000 VMFSSPARSE "disk-delta.vmdk"');
  expectSame(await contentOf(file), content);
  await expect(openVmdkFile(file, false)).rejects.toThrow(/such an extent can only be read/);
  await expect(openVmdkFile(path.join(folder, 'disk-delta.vmdk'))).rejects.toThrow(/descriptor/);
});

it('flat extents may share a file, and zeros are in none', async () => {
  const folder = workspace();
  const flat = Buffer.alloc(20 * SECTOR, 1);
  flat.fill(2, 10 * SECTOR);
  writeFileSync(path.join(folder, 'flat.vmdk'), flat);
  const lines = ['RW 10 FLAT "flat.vmdk" 10', 'RW 5 ZERO', 'RW 10 FLAT "flat.vmdk" 0'];
  const file = describeIn(folder, 'monolithicFlat', ...lines);
  const expected = Buffer.concat([flat.subarray(10 * SECTOR), Buffer.alloc(5 * SECTOR), flat]);
  expectSame(await contentOf(file), expected.subarray(0, 25 * SECTOR));
  const image = await openVmdkFile(file, false);
  await image.write(Buffer.alloc(2 * SECTOR, 3), 0, 2 * SECTOR, 15 * SECTOR);
  await image.writeZeroes(9 * SECTOR, 7 * SECTOR, true);
  const write = image.write(Buffer.alloc(SECTOR), 0, SECTOR, 12 * SECTOR);
  await expect(write).rejects.toThrow(/extent of zeros/);
  await image.sync();
  await image.close();
  const content = await contentOf(file);
  expect([8, 9, 14, 15, 16, 17].map((sector) => content[sector * SECTOR])).toEqual([
    ...[2, 0, 0, 0, 3, 1],
  ]);
});

it.each([
  ['the same bytes twice', ['RW 8 FLAT "a.vmdk" 0', 'RW 8 FLAT "a.vmdk" 4'], /same bytes twice/],
  ['a sparse file twice', ['RW 8 SPARSE "a.vmdk"', 'RW 8 SPARSE "a.vmdk"'], /same bytes twice/],
  ['more than the file has', ['RW 8 FLAT "a.vmdk" 90'], /an extent of 4096 bytes begins, but/],
  ['no access', ['NOACCESS 8 FLAT "a.vmdk" 0'], /may not be accessed/],
  [
    'itself, as sparse',
    ['RW 8 SPARSE "disk.vmdk"'],
    /the header of a sparse extent of 512 bytes ends behind/,
  ],
  ['nothing', [], /names no extents/],
])('extents that say %s are refused', async (_name, lines, message) => {
  const folder = workspace();
  writeFileSync(path.join(folder, 'a.vmdk'), Buffer.alloc(92 * SECTOR));
  const file = describeIn(folder, 'vmfs', ...lines);
  await expect(openVmdkFile(file)).rejects.toThrow(message);
});

it('an extent for reading only is not written', async () => {
  const folder = workspace();
  writeFileSync(path.join(folder, 'a.vmdk'), Buffer.alloc(8 * SECTOR));
  const file = describeIn(folder, 'vmfs', 'RDONLY 8 VMFS "a.vmdk"');
  await expect(openVmdkFile(file, false)).rejects.toThrow(/the descriptor says RDONLY of it/);
  expect((await contentOf(file)).length).toBe(8 * SECTOR);
});

it('a disk whose changes are tracked in another file is not written', async () => {
  const folder = workspace();
  writeFileSync(path.join(folder, 'a.vmdk'), Buffer.alloc(8 * SECTOR));
  const file = describeIn(folder, 'vmfs', 'RW 8 VMFS "a.vmdk"', 'changeTrackPath="a-ctk.vmdk"');
  await expect(openVmdkFile(file, false)).rejects.toThrow(/changes are tracked in another file/);
  expect((await contentOf(file)).length).toBe(8 * SECTOR);
});
