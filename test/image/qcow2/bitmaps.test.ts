import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { BlockImage } from '../../../src/image/image.ts';
import { qcow2Driver } from '../../../src/image/qcow2/driver.ts';
import { openFileStorage } from '../../../src/storage/file.ts';
import { needsPrograms, runWell } from '../../tools/programs.ts';
import { workspace } from '../../tools/workspace.ts';

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
async function makeImage(settings: string): Promise<string> {
  const file = path.join(workspace(), 'disk.qcow2');
  await runWell('qemu-img', ['create', '-q', '-f', 'qcow2', '-o', settings, file, String(SIZE)]);
  await runWell('qemu-io', ['-f', 'qcow2', '-c', 'write -q -P 1 0 128k', file]);
  await runWell('qemu-img', ['bitmap', '--add', '-g', '64k', file, 'kept']);
  await runWell('qemu-img', ['bitmap', '--add', '-g', '64k', file, 'still']);
  await runWell('qemu-img', ['bitmap', '--disable', file, 'still']);
  // What qemu marked is to stay marked.
  await runWell('qemu-io', ['-f', 'qcow2', '-c', 'write -q -P 2 7M 64k', file]);
  return file;
}

/** The parts of the disk, in units of 64 KiB, that qemu says are dirty in that bitmap. */
async function dirtyParts(file: string, bitmap: string): Promise<number[]> {
  const server = ['[', 'qemu-nbd', '-r', '-f', 'qcow2', '-B', bitmap, file, ']'];
  const context = `--map=qemu:dirty-bitmap:${bitmap}`;
  const map = JSON.parse(await runWell('nbdinfo', [context, '--json', '--', ...server]));
  const parts: number[] = [];
  for (const { offset, length, type } of map) {
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

  it('are disowned when the disk gets another size', async () => {
    const file = await makeImage('cluster_size=64k');
    const image = await openImage(file);
    await image.resize(2 * SIZE);
    await image.close();
    expect(await flagsOf(file)).toEqual({});
    await runWell('qemu-io', ['-f', 'qcow2', '-c', 'read -P 0 8M 8M', file]);
  });

  it('are told by info', async () => {
    const storage = await storageOf(await makeImage('cluster_size=64k'));
    const { details } = await qcow2Driver.info(storage);
    expect(details).toMatchObject({ bitmaps: 'kept, still', inconsistentBitmaps: '' });
    await storage.close();
  });
});
