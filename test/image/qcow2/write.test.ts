import { copyFileSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { Random } from '../../tools/crash-random.ts';
import { needsPrograms, runWell } from '../../tools/programs.ts';
import { makeWithKeySlot, PASSPHRASE, SECRET } from '../../tools/qemu-luks.ts';
import { makeImage, workspace } from '../../tools/workspace.ts';
import {
  contentByQemu,
  contentOf,
  create,
  expectClean,
  expectSame,
  KIB,
  MIB,
  type OpenChoices,
  openAt,
  qemuIo,
  rawAt,
} from './images.ts';
import { scribble } from './scribble.ts';

const SIZE = 6 * MIB + 3 * 512;

/** Scribbles on the image and holds it against a model, twice: the second time over what is there. */
async function scribbleAndCompare(
  image: string,
  directory: string,
  choices: OpenChoices = {},
  bytes = 3 * MIB,
): Promise<void> {
  let disk = await openAt(image, choices);
  const model = await contentOf(disk);
  for (const seed of [1, 2]) {
    await scribble(disk, model, new Random(seed), { rounds: 12, bytesMax: bytes });
    expectSame(await contentOf(disk), model, 'content while open');
    await disk.sync();
    await disk.close();
    await expectClean(image);
    expectSame(await contentByQemu(image, directory), model, 'content by qemu-img');
    disk = await openAt(image, choices);
    expectSame(await contentOf(disk), model, 'content when opened again');
  }
  await disk.close();
}

describe('a qcow2 image that is written', () => {
  needsPrograms('qemu-img', 'qemu-io');

  it.each([
    ['of version 2', { compat: '0.10' }],
    ['of version 3', { compat: '1.1' }],
    ['with clusters of 512 bytes', { cluster_size: 512 }],
    ['with clusters of 4 KiB', { cluster_size: 4096 }],
    ['with clusters of 2 MiB', { cluster_size: 2 * MIB }],
    ['with refcounts of 1 bit', { cluster_size: 4096, refcount_bits: 1 }],
    ['with refcounts of 2 bits', { cluster_size: 1024, refcount_bits: 2 }],
    ['with refcounts of 4 bits', { cluster_size: 1024, refcount_bits: 4 }],
    ['with refcounts of 8 bits', { cluster_size: 1024, refcount_bits: 8 }],
    ['with refcounts of 32 bits', { cluster_size: 1024, refcount_bits: 32 }],
    ['with refcounts of 64 bits', { cluster_size: 512, refcount_bits: 64 }],
    ['with extended entries', { cluster_size: 65_536, extended_l2: 'on' }],
    ['with extended entries and clusters of 16 KiB', { cluster_size: 16_384, extended_l2: 'on' }],
  ])('%s holds what was written, for qemu-img too', async (_name, options) => {
    const directory = workspace();
    const image = await create(`${directory}/disk.qcow2`, SIZE, options);
    await scribbleAndCompare(image, directory);
  });

  it.each([
    ['over a shorter backing file', 2 * MIB + 512, {}],
    ['over a longer backing file', 8 * MIB, {}],
    ['of version 2 over a backing file', SIZE, { compat: '0.10' }],
    ['with extended entries over a backing file', SIZE, { extended_l2: 'on' }],
  ])('%s fills up its clusters from there', async (_name, size, options) => {
    const directory = workspace();
    const raw = makeImage(directory, size);
    const image = `${directory}/disk.qcow2`;
    await create(image, SIZE, options, ['-b', raw, '-F', 'raw']);
    await scribbleAndCompare(image, directory, { backing: () => rawAt(raw) }, 300 * KIB);
  });

  it.each(['metadata', 'falloc', 'full'])('with preallocation=%s', async (preallocation) => {
    const directory = workspace();
    const image = await create(`${directory}/disk.qcow2`, SIZE, { preallocation });
    await scribbleAndCompare(image, directory);
  });

  it('leaves its snapshots as they were', async () => {
    const directory = workspace();
    const image = await create(`${directory}/disk.qcow2`, 4 * MIB, { cluster_size: 4096 });
    await qemuIo(image, 'write -P 1 0 3M', 'write -z 1M 100k', 'write -c -P 5 3M 64k');
    await runWell('qemu-img', ['snapshot', '-c', 'first', image]);
    const before = await contentByQemu(image, directory);
    await scribbleAndCompare(image, directory);
    const snapshot = await openAt(image, { snapshot: 'first' });
    expectSame(await contentOf(snapshot), before, 'snapshot');
    await snapshot.close();
    await runWell('qemu-img', ['snapshot', '-d', 'first', image]);
    await expectClean(image);
  });

  it('enciphered with LUKS is read by qemu-img with the same passphrase', async () => {
    const directory = workspace();
    const image = `${directory}/disk.qcow2`;
    const luks = ['encrypt.format=luks', 'encrypt.key-secret=key', 'encrypt.iter-time=10'];
    await makeWithKeySlot([
      ...['create', '-q', ...SECRET, '-f', 'qcow2', '-o', luks.join(','), image, '2M'],
    ]);
    const disk = await openAt(image, { passphrase: PASSPHRASE });
    const model = Buffer.alloc(2 * MIB);
    await scribble(disk, model, new Random(1), { rounds: 10, bytesMax: 300 * KIB });
    expectSame(await contentOf(disk), model);
    await disk.close();
    const raw = `${directory}/by-qemu.raw`;
    const options = `driver=qcow2,encrypt.key-secret=key,file.filename=${image}`;
    await runWell('qemu-img', ['convert', ...SECRET, '--image-opts', options, '-O', 'raw', raw]);
    expectSame(readFileSync(raw), model, 'content by qemu-img');
  });

  it.each(['zlib', 'zstd'])('compressed with %s is written over', async (method) => {
    const directory = workspace();
    const raw = makeImage(directory, SIZE);
    const image = `${directory}/disk.qcow2`;
    const convert = ['convert', '-c', '-f', 'raw', '-O', 'qcow2'];
    await runWell('qemu-img', [...convert, '-o', `compression_type=${method}`, raw, image]);
    await scribbleAndCompare(image, directory);
  });

  it('over the image of qemu-img, in place, does not grow', async () => {
    const directory = workspace();
    const raw = makeImage(directory, 4 * MIB);
    const image = `${directory}/disk.qcow2`;
    await runWell('qemu-img', ['convert', '-S', '0', '-f', 'raw', '-O', 'qcow2', raw, image]);
    const sizeBefore = readFileSync(image).length;
    const disk = await openAt(image);
    await disk.write(Buffer.alloc(MIB, 9), 0, MIB, MIB);
    await disk.close();
    expect(readFileSync(image).length).toBe(sizeBefore);
    await expectClean(image);
  });

  it('keeps its refcount table whole when that grows again and again', async () => {
    const directory = workspace();
    const options = { cluster_size: 512, refcount_bits: 64 };
    const image = await create(`${directory}/disk.qcow2`, 24 * MIB, options);
    const disk = await openAt(image);
    const piece = Buffer.alloc(2 * MIB, 0x5a);
    for (let at = 0; at < 24 * MIB; at += piece.length) {
      await disk.write(piece, 0, piece.length, at);
      await disk.sync();
      const copy = `${directory}/copy.qcow2`;
      copyFileSync(image, copy);
      await runWell('qemu-img', ['check', '-r', 'leaks', '-f', 'qcow2', copy]);
    }
    await disk.close();
    await expectClean(image);
  });
});
