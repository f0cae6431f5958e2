import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, it } from 'vitest';
import { leaveOutWithout, runWell } from '../../tools/programs.ts';
import { MIB, workspace } from '../../tools/workspace.ts';
import { createVmdkFile, infoOf, openVmdkFile, SUBFORMATS } from './vmdk-files.ts';

const GIB = 1024 * MIB;

it.each(SUBFORMATS)('%s is described as qemu-img describes it', async (subformat) => {
  const folder = workspace();
  const file = path.join(folder, 'my disk.vmdk');
  const settings = { subformat, adapter_type: 'lsilogic', hwversion: '7', toolsversion: '12' };
  await createVmdkFile(file, 5 * GIB + 100, settings);
  const info = await infoOf(file);
  expect(info).toMatchObject({
    virtualSizeBytes: 5 * GIB + 512,
    details: { subformat, adapterType: 'lsilogic', hwversion: '7', parentCid: 'ffffffff' },
  });
  const others = readdirSync(folder).filter((name) => name !== 'my disk.vmdk');
  expect(info.references.map(({ name }) => name).sort()).toEqual(others.sort());
  const count = { monolithicFlat: 1, twoGbMaxExtentFlat: 3, twoGbMaxExtentSparse: 3 };
  expect(others.length).toBe(count[subformat as keyof typeof count] ?? 0);
  const text = readFileSync(file, 'latin1');
  expect(text).toContain('ddb.toolsVersion = "12"');
  expect(text).toContain(`ddb.geometry.heads = "255"`);
});

it('qemu-img finds in it what was asked for', async (context) => {
  leaveOutWithout(context.skip, 'qemu-img');
  const file = path.join(workspace(), 'disk.vmdk');
  await createVmdkFile(file, 5 * GIB, { subformat: 'twoGbMaxExtentSparse' });
  const info = JSON.parse(await runWell('qemu-img', ['info', '--output=json', file]));
  expect(info['virtual-size']).toBe(5 * GIB);
  const { extents, cid } = info['format-specific'].data;
  expect(extents.map((each: Record<string, number>) => each['virtual-size'])).toEqual([
    ...[2 * GIB, 2 * GIB, GIB],
  ]);
  expect(cid.toString(16).padStart(8, '0')).toBe((await infoOf(file)).details.cid);
});

it('a disk of 4 TiB costs its tables alone, and is written at its end', async () => {
  const file = path.join(workspace(), 'large.vmdk');
  await createVmdkFile(file, 4096 * GIB);
  const image = await openVmdkFile(file, false);
  await image.write(Buffer.alloc(MIB, 3), 0, MIB, 4095 * GIB);
  await image.sync();
  const read = Buffer.alloc(512);
  await image.read(read, 0, 512, 4095 * GIB + MIB - 512);
  expect(read[0]).toBe(3);
  expect(image.tables?.bytes).toBeLessThanOrEqual(32 * 1024);
  await image.close();
});

it.each([
  [{ subformat: 'monolithic' }, /subformat cannot be "monolithic"; choose from monolithicSparse/],
  [{ adapter_type: 'nvme' }, /adapter_type cannot be "nvme"/],
  [{ zeroed_grain: 'maybe' }, /say on or off/],
  [{ hwversion: 'x' }, /hwversion cannot be "x"; give a number/],
  [{ hwversion: '4', compat6: 'on' }, /give one of the two/],
  [{ cluster_size: '4k' }, /no setting "cluster_size"/],
  [{ subformat: 'monolithicFlat', zeroed_grain: 'on' }, /monolithicFlat has no zeroed_grain/],
])('the settings %o are refused', async (settings, message) => {
  const file = path.join(workspace(), 'disk.vmdk');
  await expect(createVmdkFile(file, MIB, settings)).rejects.toThrow(message);
});

it('what no vmdk can be is refused', async () => {
  const folder = workspace();
  let count = 0;
  const create = (sizeBytes: number, settings = {}, more = {}) =>
    createVmdkFile(path.join(folder, `${count++}.vmdk`), sizeBytes, settings, more);
  await expect(create(0)).rejects.toThrow(/cannot hold 0 bytes/);
  await expect(create(64 * 1024 * GIB)).rejects.toThrow(/more than 32 TiB/);
  await expect(create(9000 * GIB, { subformat: 'twoGbMaxExtentFlat' })).rejects.toThrow(
    /4500 files are more than 4096/,
  );
  const backing = { role: 'parent', name: 'base.raw', formatName: 'raw' };
  await expect(create(MIB, {}, { backing })).rejects.toThrow(/its parent must be a vmdk/);
  const parent = { ...backing, formatName: 'vmdk', parentCid: 5 };
  const flat = { subformat: 'monolithicFlat' };
  await expect(create(MIB, flat, { backing: parent })).rejects.toThrow(/cannot stand on another/);
  await expect(create(MIB, {}, { fileName: 'a"b.vmdk' })).rejects.toThrow(/quotation mark/);
  await create(MIB, { subformat: 'monolithicFlat' }, { fileName: 'final.vmdk' });
  expect(readdirSync(folder)).toContain('final-flat.vmdk');
});
