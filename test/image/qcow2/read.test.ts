import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { needsPrograms, runWell } from '../../tools/programs.ts';
import { makeWithKeySlot, PASSPHRASE, SECRET } from '../../tools/qemu-luks.ts';
import { makeImage, workspace } from '../../tools/workspace.ts';
import {
  contentByQemu,
  contentOf,
  create,
  expectSame,
  KIB,
  MIB,
  openAt,
  qemuIo,
  rawAt,
} from './images.ts';

describe('a qcow2 image that qemu-img wrote', () => {
  needsPrograms('qemu-img', 'qemu-io');

  it.each([
    ['of version 2', { compat: '0.10' }],
    ['with clusters of 512 bytes', { cluster_size: 512 }],
    ['with clusters of 4 KiB', { cluster_size: 4096 }],
    ['with clusters of 2 MiB', { cluster_size: 2 * MIB }],
    ['with extended entries and clusters of 16 KiB', { cluster_size: 16_384, extended_l2: 'on' }],
    ['with extended entries and clusters of 64 KiB', { extended_l2: 'on' }],
  ])('%s reads as it was written', async (_name, options) => {
    const directory = workspace();
    const raw = makeImage(directory, 5 * MIB + 1536);
    const image = `${directory}/disk.qcow2`;
    const pairs = Object.entries(options).map(([name, value]) => `${name}=${value}`);
    const convert = ['convert', '-f', 'raw', '-O', 'qcow2', '-o', pairs.join(',')];
    await runWell('qemu-img', [...convert, raw, image]);
    const disk = await openAt(image, { isReadOnly: true });
    expectSame(await contentOf(disk), readFileSync(raw));
    expectSame(await contentOf(disk, 77_777), readFileSync(raw), 'content by odd pieces');
    await disk.close();
  });

  it.each([
    ['zlib', 65_536],
    ['zlib', 4096],
    ['zlib', 2 * MIB],
    ['zstd', 65_536],
    ['zstd', 512],
  ])('compressed with %s in clusters of %d bytes reads as it was', async (method, cluster) => {
    const directory = workspace();
    const raw = makeImage(directory, 3 * MIB + 512);
    const image = `${directory}/disk.qcow2`;
    const options = `compression_type=${method},cluster_size=${cluster}`;
    const convert = ['convert', '-c', '-m', '4', '-W', '-f', 'raw', '-O', 'qcow2', '-o', options];
    await runWell('qemu-img', [...convert, raw, image]);
    const disk = await openAt(image, { isReadOnly: true });
    expectSame(await contentOf(disk), readFileSync(raw));
    await disk.close();
  });

  it('shows zeros, holes and what lies under it', async () => {
    const directory = workspace();
    const raw = makeImage(directory, 2 * MIB);
    const image = `${directory}/disk.qcow2`;
    const options = { extended_l2: 'on', cluster_size: 65_536 };
    await create(image, 3 * MIB, options, ['-b', raw, '-F', 'raw']);
    await qemuIo(image, 'write -P 7 70k 2k', 'write -z 200k 100k', 'write -z -u 512k 256k');
    await qemuIo(image, 'write -P 9 1000k 200k', 'discard 1024k 64k', 'write -P 3 1999k 300k');
    const disk = await openAt(image, { isReadOnly: true, backing: () => rawAt(raw) });
    expectSame(await contentOf(disk), await contentByQemu(image, directory));
    await disk.close();
  });

  it('gives its snapshots by id and by name, each of its own size', async () => {
    const directory = workspace();
    const image = await create(`${directory}/disk.qcow2`, MIB);
    await qemuIo(image, 'write -P 1 0 300k');
    await runWell('qemu-img', ['snapshot', '-c', 'first', image]);
    await qemuIo(image, 'write -P 2 100k 300k');
    await runWell('qemu-img', ['resize', '-q', '-f', 'qcow2', image, '2M']);
    await runWell('qemu-img', ['snapshot', '-c', 'second', image]);
    await qemuIo(image, 'write -P 3 0 2M');
    for (const [wanted, name, sizeBytes] of [
      ['1', 'first', MIB],
      ['second', 'second', 2 * MIB],
    ] as const) {
      const disk = await openAt(image, { snapshot: wanted });
      expect(disk.virtualSizeBytes).toBe(sizeBytes);
      const expected = await contentByQemu(image, directory, ['-l', `snapshot.name=${name}`]);
      // qemu-img gives it the size of the active disk.
      expectSame(await contentOf(disk), expected.subarray(0, disk.virtualSizeBytes), name);
      await disk.close();
    }
    await expect(openAt(image, { snapshot: 'third' })).rejects.toMatchObject({ kind: 'not-found' });
  });

  it('enciphered with LUKS reads with its passphrase alone', async () => {
    const directory = workspace();
    const raw = makeImage(directory, MIB);
    const image = `${directory}/disk.qcow2`;
    const luks = ['encrypt.format=luks', 'encrypt.key-secret=key', 'encrypt.iter-time=10'];
    const convert = ['convert', ...SECRET, '-f', 'raw', '-O', 'qcow2', '-o', luks.join(',')];
    await makeWithKeySlot([...convert, raw, image]);
    const disk = await openAt(image, { isReadOnly: true, passphrase: PASSPHRASE });
    expectSame(await contentOf(disk), readFileSync(raw));
    await disk.close();
    await expect(openAt(image, { isReadOnly: true })).rejects.toMatchObject({ kind: 'permission' });
  });

  it('answers a terabyte of holes with one run', async () => {
    const directory = workspace();
    const image = await create(`${directory}/disk.qcow2`, '1T');
    const disk = await openAt(image, { isReadOnly: true });
    const extent = await disk.extent(5 * KIB, 2 ** 40 - 5 * KIB);
    expect(extent).toMatchObject({ length: 2 ** 40 - 5 * KIB, isHole: true, isZero: true });
    await disk.close();
  });
});
