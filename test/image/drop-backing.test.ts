import { copyFileSync, readFileSync, rmSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { FormatDriver, FormatName } from '../../src/image/format.ts';
import { driverOf } from '../../src/image/formats.ts';
import { openImage } from '../../src/image/open.ts';
import { Random } from '../tools/crash-random.ts';
import { needsPrograms, runProgram, runWell } from '../tools/programs.ts';
import { makeImage, workspace } from '../tools/workspace.ts';
import { containerOf, contentOf, FaultyContainer, openOn } from './appended/images.ts';
import { LoggedContainer } from './appended/write-log.ts';

const KIB = 1024;
const SIZE = 1024 * KIB + 512;

interface Kind {
  readonly format: FormatName;
  readonly options: string;
}

const KINDS: Kind[] = [
  { format: 'qcow2', options: 'cluster_size=4096' },
  { format: 'qcow2', options: 'cluster_size=4096,compat=0.10' },
  { format: 'qcow2', options: 'cluster_size=16384,extended_l2=on' },
  { format: 'qed', options: 'cluster_size=4096' },
  { format: 'qcow', options: 'encryption=off' },
];

/** An overlay with some data of its own, and what is read through it. */
async function overlay({ format, options }: Kind) {
  const directory = workspace();
  const base = makeImage(directory, SIZE, 'base.raw');
  const path = `${directory}/disk.${format}`;
  const expected = `${directory}/expected.raw`;
  const over = ['-b', base, '-F', 'raw'];
  await runWell('qemu-img', ['create', '-q', '-f', format, '-o', options, ...over, path]);
  copyFileSync(base, expected);
  const writes = ['-c', 'write -P 5 100k 33k', '-c', 'write -P 6 700k 512'];
  await runWell('qemu-io', ['-f', format, ...writes, path]);
  await runWell('qemu-io', ['-f', 'raw', ...writes, expected]);
  const content = readFileSync(expected).subarray(0, SIZE);
  return { path, base, expected, content };
}

function open(path: string) {
  return openImage(path, { isReadOnly: false, backingFormatName: 'raw' });
}

async function backingName(driver: FormatDriver, bytes: Buffer): Promise<string | undefined> {
  return (await driver.info(containerOf(bytes))).backing?.name;
}

describe.each(KINDS)('a $format image ($options) that lets go of its base', (kind) => {
  const { format } = kind;
  needsPrograms('qemu-img', 'qemu-io');

  it('stands alone, for qemu-img too, and can be written as before', async () => {
    const { path, base, expected, content } = await overlay(kind);
    const image = await open(path);
    expect(await image.copyUp(0, SIZE)).toBeGreaterThan(700 * KIB);
    await image.dropBacking();
    rmSync(base);
    expect((await contentOf(image)).equals(content)).toBe(true);
    await image.writeZeroes(16 * KIB, 64 * KIB, true);
    await image.write(Buffer.alloc(3000, 7), 0, 3000, 20 * KIB);
    await image.close();
    const commands = ['-c', 'write -z 16k 64k', '-c', 'write -P 7 20k 3000'];
    await runWell('qemu-io', ['-f', 'raw', ...commands, expected]);
    const info = JSON.parse(await runWell('qemu-img', ['info', '--output=json', path]));
    expect(info['backing-filename']).toBeUndefined();
    expect(info['backing-filename-format']).toBeUndefined();
    await runWell('qemu-img', ['compare', '-f', format, '-F', 'raw', path, expected]);
    if (format !== 'qcow') await runWell('qemu-img', ['check', '-q', '-f', format, path]);
    const again = await open(path);
    expect(again.backing).toBeUndefined();
    await again.write(Buffer.alloc(512, 9), 0, 512, 900 * KIB);
    await again.close();
  });

  it('has its base or needs none, whenever the power is lost', async () => {
    const { path, base, content } = await overlay(kind);
    const random = new Random(7);
    const log = new LoggedContainer(readFileSync(path), random);
    const driver = await driverOf(format);
    const below = readFileSync(base);
    const image = await openOn(driver, log, below);
    await image.copyUp(0, SIZE);
    const from = log.tick();
    await image.dropBacking();
    const end = log.tick();
    await image.close();
    const found = new Set<boolean>();
    for (let now = from; now <= end; now++) {
      for (const lost of [0, 0.5, 1, 'oldest'] as const) {
        const bytes = log.mediumAt(now, lost);
        const hasBase = (await backingName(driver, bytes)) !== undefined;
        found.add(hasBase);
        const medium = containerOf(bytes, true);
        const left = await openOn(driver, medium, hasBase ? below : undefined);
        expect((await contentOf(left)).equals(content), `at ${now}, lost ${lost}`).toBe(true);
      }
    }
    expect([...found].sort()).toEqual([false, true]);
    expect(await backingName(driver, log.mediumAt(end, 1))).toBeUndefined();
  });
});

it('a qcow2 image with snapshots keeps its base, which they still show', async () => {
  const { path, content } = await overlay({ format: 'qcow2', options: 'cluster_size=4096' });
  await runWell('qemu-img', ['snapshot', '-c', 'before', path]);
  const image = await open(path);
  await image.copyUp(0, SIZE);
  await expect(image.dropBacking()).rejects.toThrow(/keeps its backing file: its snapshots/);
  expect((await contentOf(image)).equals(content)).toBe(true);
  await image.close();
  expect((await runProgram('qemu-img', ['info', path])).stdout).toContain('backing file:');
});

it('a qcow2 image that could not quite let go of its base shows nothing of it as zeros', async () => {
  const { path, base } = await overlay({ format: 'qcow2', options: 'compat=0.10' });
  const storage = new FaultyContainer(containerOf(readFileSync(path)));
  const image = await openOn(await driverOf('qcow2'), storage, readFileSync(base));
  await image.copyUp(0, SIZE);
  storage.onWrite = (_offset, length) => {
    if (length === 'raw'.length) throw new Error('full'); // behind the name, the format
  };
  await expect(image.dropBacking()).rejects.toThrow('full');
  storage.onWrite = undefined;
  await image.writeZeroes(256 * KIB, 64 * KIB, true);
  const read = Buffer.alloc(64 * KIB, 1);
  await image.read(read, 0, read.length, 256 * KIB);
  expect(read.equals(Buffer.alloc(64 * KIB))).toBe(true);
  await image.dropBacking();
  await image.close();
});

it('a qcow2 header whose records end with the backing name alone is left as it is', async () => {
  const { path } = await overlay({ format: 'qcow2', options: 'compat=0.10' });
  const bytes = readFileSync(path);
  // As the first versions of qemu made them: no records, and the name right behind the header.
  bytes.write('base.raw', 72);
  bytes.writeUInt32BE(72, 12);
  bytes.writeUInt32BE(8, 16);
  const storage = containerOf(bytes);
  const driver = await driverOf('qcow2');
  const image = await openOn(driver, storage, Buffer.alloc(SIZE));
  await expect(image.dropBacking()).rejects.toThrow(/nothing but the name of its backing file/);
  expect((await driver.info(storage)).backing?.name).toBe('base.raw');
  await image.close();
});
