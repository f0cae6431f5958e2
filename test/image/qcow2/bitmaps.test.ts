import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { BlockImage } from '../../../src/image/image.ts';
import { qcow2Driver } from '../../../src/image/qcow2/driver.ts';
import { bitmapDirectory, readBitmaps } from '../../../src/image/qcow2/structures/bitmaps.ts';
import { readHeader } from '../../../src/image/qcow2/structures/header.ts';
import { KeptBitmap } from '../../../src/image/qcow2/writes/kept-bitmap.ts';
import { openFileStorage } from '../../../src/storage/file.ts';
import { Random } from '../../tools/crash-random.ts';
import { needsPrograms, runWell } from '../../tools/programs.ts';
import { workspace } from '../../tools/workspace.ts';
import { checkOf, containerOf } from '../appended/images.ts';
import { LoggedContainer } from '../appended/write-log.ts';
import { openOn } from './images.ts';

const KIB = 1024;
const SIZE = 8 << 20;

const options = {
  isReadOnly: false,
  tableBytesMax: 1 << 20,
  openFile: () => Promise.reject(new Error('there is no other file')),
};

async function storageOf(file: string) {
  return openFileStorage(file, { isReadOnly: false, isContainer: true, wantsDirect: false });
}

async function openImage(file: string): Promise<BlockImage> {
  const { format } = await qcow2Driver.open(await storageOf(file), options);
  return new BlockImage({ name: file, identity: file, medium: file, format });
}

/** An image with a bitmap that is kept, one that is not, and some content from before them. */
async function makeImage(settings: string, granularity = '64k'): Promise<string> {
  const file = path.join(workspace(), 'disk.qcow2');
  await runWell('qemu-img', ['create', '-q', '-f', 'qcow2', '-o', settings, file, String(SIZE)]);
  await runWell('qemu-io', ['-f', 'qcow2', '-c', 'write -q -P 1 0 128k', file]);
  await runWell('qemu-img', ['bitmap', '--add', '-g', granularity, file, 'kept']);
  await runWell('qemu-img', ['bitmap', '--add', '-g', granularity, file, 'still']);
  await runWell('qemu-img', ['bitmap', '--disable', file, 'still']);
  // What qemu marked is to stay marked.
  await runWell('qemu-io', ['-f', 'qcow2', '-c', 'write -q -P 2 7M 64k', file]);
  return file;
}

/** What qemu says of that bitmap. */
async function mapOf(
  file: string,
  bitmap: string,
): Promise<{ offset: number; length: number; type: number }[]> {
  const server = ['[', 'qemu-nbd', '-r', '-f', 'qcow2', '-B', bitmap, file, ']'];
  const context = `--map=qemu:dirty-bitmap:${bitmap}`;
  return JSON.parse(await runWell('nbdinfo', [context, '--json', '--', ...server]));
}

/** The parts of the disk, in units of 64 KiB, that qemu says are dirty in that bitmap. */
async function dirtyParts(file: string, bitmap: string): Promise<number[]> {
  const parts: number[] = [];
  for (const { offset, length, type } of await mapOf(file, bitmap)) {
    for (let at = offset; type !== 0 && at < offset + length; at += 64 * KIB) {
      parts.push(at / 64 / KIB);
    }
  }
  return parts;
}

async function flagsOf(file: string): Promise<Record<string, string[]>> {
  const info = JSON.parse(await runWell('qemu-img', ['info', '-U', '--output=json', file]));
  const bitmaps: { name: string; flags: string[] }[] = info['format-specific'].data.bitmaps ?? [];
  return Object.fromEntries(bitmaps.map(({ name, flags }) => [name, flags]));
}

async function check(file: string): Promise<void> {
  await runWell('qemu-img', ['check', '-q', '-f', 'qcow2', file]);
}

describe('persistent bitmaps of a qcow2 image', () => {
  needsPrograms('qemu-img', 'qemu-io', 'qemu-nbd', 'nbdinfo');

  it.each(['cluster_size=64k', 'cluster_size=512', 'cluster_size=16k,extended_l2=on'])(
    'tell what was written, zeroed and given up: %s',
    async (settings) => {
      const file = await makeImage(settings);
      const image = await openImage(file);
      const data = Buffer.alloc(200 * KIB, 7);
      await image.write(data, 0, 4096, 0);
      await image.write(data, 0, data.length, 1000 * KIB);
      await image.writeZeroes(64 * KIB, 64 * KIB, true);
      await image.discard(3072 * KIB, 128 * KIB);
      expect(await flagsOf(file)).toEqual({ kept: ['in-use', 'auto'], still: [] });
      await image.close();
      await check(file);
      expect(await flagsOf(file)).toEqual({ kept: ['auto'], still: [] });
      expect(await dirtyParts(file, 'kept')).toEqual([0, 1, 15, 16, 17, 18, 48, 49, 112]);
      expect(await dirtyParts(file, 'still')).toEqual([]);
    },
  );

  it('are as they were when nothing is written', async () => {
    const file = await makeImage('cluster_size=64k');
    const before = fs.readFileSync(file);
    const image = await openImage(file);
    await image.read(Buffer.alloc(4096), 0, 4096, 0);
    await image.close();
    expect(fs.readFileSync(file).equals(before)).toBe(true);
  });

  it('stay marked as in use when the writer is gone before it stored them', async () => {
    const file = await makeImage('cluster_size=64k');
    const image = await openImage(file);
    await image.write(Buffer.alloc(4096, 7), 0, 4096, 2048 * KIB);
    await image.sync();
    fs.copyFileSync(file, `${file}.crashed`);
    await image.close();
    expect(await flagsOf(`${file}.crashed`)).toMatchObject({ kept: ['in-use', 'auto'] });
    const again = await openImage(`${file}.crashed`);
    await again.write(Buffer.alloc(4096, 7), 0, 4096, 0);
    await again.close();
    expect(await flagsOf(`${file}.crashed`)).toMatchObject({ kept: ['in-use', 'auto'] });
    await check(`${file}.crashed`);
  });

  it.each([
    ['cluster_size=64k', '64k', [2 * SIZE, 2 * SIZE - 130 * KIB, 5 << 20, 9 << 20]],
    // Bits of several clusters.
    ['cluster_size=512', '512', [SIZE + 4 * KIB, SIZE + KIB, SIZE + 64 * KIB]],
  ])(
    'have the length of the disk as those of qemu have: %s',
    async (settings, granularity, sizes) => {
      const file = await makeImage(settings, granularity);
      const other = `${file}.qemu`;
      fs.copyFileSync(file, other);
      for (const sizeBytes of sizes) {
        const image = await openImage(file);
        await image.resize(sizeBytes);
        await image.write(Buffer.alloc(1024, 3), 0, 1024, sizeBytes - 2048);
        await image.close();
        await check(file);
        await runWell('qemu-img', [
          'resize',
          '-q',
          '-f',
          'qcow2',
          '--shrink',
          other,
          `${sizeBytes}`,
        ]);
        const write = `write -q -P 3 ${sizeBytes - 2048} 1k`;
        await runWell('qemu-io', ['-f', 'qcow2', '-c', write, other]);
        expect(await flagsOf(file)).toEqual({ kept: ['auto'], still: [] });
        for (const bitmap of ['kept', 'still']) {
          expect(await mapOf(file, bitmap)).toEqual(await mapOf(other, bitmap));
        }
      }
    },
  );

  it('are marked, or tell the truth, when the power is lost while the disk gets another size', async () => {
    const file = await makeImage('cluster_size=512', '512');
    const log = new LoggedContainer(fs.readFileSync(file), new Random(9));
    // From 128 MiB on a table needs a second cluster.
    for (const sizeBytes of [160 << 20, 3 << 20]) {
      const image = await openOn(log);
      await image.write(Buffer.alloc(64 * KIB, 7), 0, 64 * KIB, 960 * KIB);
      await image.resize(sizeBytes);
      await image.close();
    }
    const end = log.tick();
    let usable = 0;
    for (let now = 1; now <= end; now += now > end - 40 ? 1 : 13) {
      for (const lost of [0, 1, 0.5, 'oldest'] as const) {
        const bytes = log.mediumAt(now, lost);
        const when = `at ${now} of ${end}, lost ${lost}`;
        const left = containerOf(bytes);
        expect(await checkOf(qcow2Driver, left), when).toMatchObject({ corruptions: 0 });
        const header = await readHeader(left);
        const directory = bitmapDirectory(header, 'left');
        if (directory === undefined) throw new Error(`the bitmaps are gone ${when}`);
        for (const bitmap of await readBitmaps(left, header, directory)) {
          if (bitmap.isInUse) continue;
          usable++;
          expect(await KeptBitmap.read(left, header, directory.offset, bitmap), when).toBeDefined();
        }
      }
    }
    expect(usable).toBeGreaterThan(8);
    fs.writeFileSync(file, log.mediumAt(end, 0));
    await check(file);
    expect(await dirtyParts(file, 'kept')).toEqual([15]);
    expect(await dirtyParts(file, 'still')).toEqual([]);
  });

  it('keep the disk from having no byte, since no other program would open the image', async () => {
    const file = await makeImage('cluster_size=64k');
    const image = await openImage(file);
    await expect(image.resize(0)).rejects.toMatchObject({ kind: 'unsupported' });
    await image.close();
    await runWell('qemu-img', ['check', '-q', '-f', 'qcow2', file]);
    expect(await dirtyParts(file, 'kept')).toEqual([112]);
  });

  it('say nothing of what is behind the end of the disk, when its last cluster is compressed', async () => {
    const file = path.join(workspace(), 'disk.qcow2');
    await runWell('qemu-img', ['create', '-q', '-f', 'qcow2', file, `${69 * KIB}`]);
    await runWell('qemu-img', ['bitmap', '--add', '-g', '512', file, 'kept']);
    const image = await openImage(file);
    await image.writeCompressed(64 * KIB, Buffer.alloc(64 * KIB));
    await image.close();
    await runWell('qemu-img', ['resize', '-q', '-f', 'qcow2', file, '1M']);
    expect(await mapOf(file, 'kept')).toMatchObject([
      { offset: 0, length: 64 * KIB, type: 0 },
      { offset: 64 * KIB, length: 5 * KIB, type: 1 },
      { offset: 69 * KIB, type: 0 },
    ]);
  });

  it('are told by info', async () => {
    const storage = await storageOf(await makeImage('cluster_size=64k'));
    const { details } = await qcow2Driver.info(storage);
    expect(details).toMatchObject({ bitmaps: 'kept, still', inconsistentBitmaps: '' });
    await storage.close();
  });
});
