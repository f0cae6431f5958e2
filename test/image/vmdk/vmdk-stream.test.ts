import { readFileSync, truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { expect, it } from 'vitest';
import { leaveOutWithout } from '../../tools/programs.ts';
import { MIB, workspace } from '../../tools/workspace.ts';
import { expectSame } from '../appended/image-model.ts';
import { streamOf } from './hand-made.ts';
import {
  checkFile,
  contentOf,
  createVmdkFile,
  infoOf,
  openVmdkFile,
  qemuContentOf,
  sampleBytes,
} from './vmdk-files.ts';

const GRAIN = 65_536;

it('a stream as virtual machines are shipped in is read as qemu reads it', async (context) => {
  leaveOutWithout(context.skip, 'qemu-img');
  const file = path.join(workspace(), 'shipped.vmdk');
  const sizeBytes = 70 * MIB + 3 * 512;
  const content = Buffer.alloc(sizeBytes);
  const grains = new Map<number, Buffer>();
  for (const grain of [0, 1, 5, 511, 512, 1030, Math.floor(sizeBytes / GRAIN)]) {
    const unit = Buffer.alloc(GRAIN);
    sampleBytes(GRAIN).copy(unit);
    const inside = Math.min(GRAIN, sizeBytes - grain * GRAIN);
    unit.fill(0, inside);
    grains.set(grain, unit);
    unit.copy(content, grain * GRAIN, 0, inside);
  }
  writeFileSync(file, streamOf(grains, sizeBytes / 512));
  expectSame(await contentOf(file), content);
  expectSame(await qemuContentOf(file), content);
  expect((await infoOf(file)).details).toMatchObject({ hasFooter: true, version: 3 });
  const report = await checkFile(file);
  expect(report).toMatchObject({ corruptions: 0, leaks: 0, errors: 0, compressedUnits: 7 });
});

it('a stream takes grains in the order of the disk, each once, and nothing else', async () => {
  const file = path.join(workspace(), 'stream.vmdk');
  await createVmdkFile(file, 3 * MIB, { subformat: 'streamOptimized' });
  await expect(openVmdkFile(file)).rejects.toThrow(/stream was not written to its end/);
  const image = await openVmdkFile(file, false);
  const unit = sampleBytes(GRAIN);
  await Promise.all([0, 3, 4].map((grain) => image.writeCompressed(grain * GRAIN, unit)));
  for (const grain of [4, 2]) {
    await expect(image.writeCompressed(grain * GRAIN, unit)).rejects.toThrow(/in the order/);
  }
  await expect(image.write(unit, 0, 512, 5 * GRAIN)).rejects.toThrow(/whole grains/);
  await image.writeZeroes(10 * GRAIN, 5 * GRAIN, true);
  const read = Buffer.alloc(GRAIN);
  await image.read(read, 0, GRAIN, 3 * GRAIN);
  expect(read.equals(unit)).toBe(true);
  await image.sync();
  // More after the end was written goes over it.
  await image.writeCompressed(20 * GRAIN, unit);
  await image.close();
  const content = Buffer.alloc(3 * MIB);
  for (const grain of [0, 3, 4, 20]) unit.copy(content, grain * GRAIN);
  expectSame(await contentOf(file), content);
  await expect(openVmdkFile(file, false)).rejects.toThrow(/finished stream/);
});

it('a stream that was cut is refused, and says so', async () => {
  const file = path.join(workspace(), 'cut.vmdk');
  const whole = streamOf(new Map([[0, Buffer.alloc(GRAIN, 1)]]), 2048);
  for (const length of [whole.length - 512, 128 * 512, 1024]) {
    writeFileSync(file, whole);
    truncateSync(file, length);
    await expect(openVmdkFile(file)).rejects.toThrow(/cut\.vmdk" as vmdk: at offset \d+, /);
  }
});

it('damaged grains of a stream fail the reads of them alone', async () => {
  const folder = workspace();
  const good = streamOf(
    new Map([
      [0, sampleBytes(GRAIN)],
      [1, Buffer.alloc(GRAIN, 7)],
    ]),
    2048,
  );
  const damages: [string, (bytes: Buffer) => void, RegExp][] = [
    ['sector', (bytes) => bytes.writeUInt32LE(128, GRAIN), /marker is of the grain at sector 128/],
    ['none', (bytes) => bytes.writeUInt32LE(0, GRAIN + 8), /0 bytes is not 1 to/],
    ['long', (bytes) => bytes.writeUInt32LE(2 * GRAIN - 11, GRAIN + 8), /bytes is not 1 to/],
    ['deflate', (bytes) => bytes.fill(0xff, GRAIN + 14, GRAIN + 40), /do not decompress/],
    ['short', (bytes) => bytes.writeUInt32LE(9, GRAIN + 8), /do not decompress/],
  ];
  for (const [name, damage, message] of damages) {
    const file = path.join(folder, `${name}.vmdk`);
    const bytes = Buffer.from(good);
    damage(bytes);
    writeFileSync(file, bytes);
    const image = await openVmdkFile(file);
    const read = Buffer.alloc(512);
    await expect(image.read(read, 0, 512, 0), name).rejects.toThrow(message);
    await image.read(read, 0, 512, GRAIN);
    expect(read[0]).toBe(7);
    await image.close();
  }
  expect(readFileSync(path.join(folder, 'sector.vmdk')).length).toBe(good.length);
});

it('a grain that decompresses to more than a grain is refused within its bounds', async () => {
  const file = path.join(workspace(), 'bomb.vmdk');
  writeFileSync(file, streamOf(new Map([[0, Buffer.alloc(64 * MIB)]]), 2048));
  const image = await openVmdkFile(file);
  await expect(image.read(Buffer.alloc(512), 0, 512, 0)).rejects.toThrow(/do not decompress/);
  await image.close();
});
