import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { qcowDriver } from '../../../src/image/qcow/driver.ts';
import { needsPrograms, runProgram, runWell } from '../../tools/programs.ts';
import { makeImage, workspace } from '../../tools/workspace.ts';
import { expectSame } from '../appended/image-model.ts';
import {
  BASE,
  checkOf,
  containerOf,
  contentOf,
  createOn,
  emptyContainer,
  openOn,
  saveTo,
} from '../appended/images.ts';

const SIZE = 4 * 1024 * 1024 + 512;
// qemu-img compresses whole clusters alone.
const WHOLE = 4 * 1024 * 1024;
const PASSPHRASE = 'twelve bytes';

needsPrograms('qemu-img', 'qemu-io');

describe('qcow and qemu', () => {
  it.each([
    { how: [], sizeBytes: SIZE },
    { how: ['-c'], sizeBytes: WHOLE },
  ])('an image by qemu-img convert $how is read', async ({ how }) => {
    const directory = workspace();
    const raw = makeImage(directory, SIZE);
    const made = join(directory, 'made.qcow');
    // With -c, version 7.2 makes the whole image and then ends with 1: what it made is looked at.
    await runProgram('qemu-img', ['convert', ...how, '-f', 'raw', '-O', 'qcow', raw, made]);
    const container = containerOf(readFileSync(made), true);
    expectSame(await contentOf(await openOn(qcowDriver, container)), readFileSync(raw));
    const report = await checkOf(qcowDriver, container);
    expect(report).toMatchObject({ corruptions: 0, leaks: 0, errors: 0 });
    expect(report.compressedUnits > 0).toBe(how.length > 0);
  });

  it('an enciphered image by qemu-img is read with its passphrase, and refused without', async () => {
    const directory = workspace();
    const raw = makeImage(directory, SIZE);
    const made = join(directory, 'made.qcow');
    const secret = `secret,id=s,data=${PASSPHRASE}`;
    const options = 'encrypt.format=aes,encrypt.key-secret=s';
    const convert = ['convert', '--object', secret, '-O', 'qcow', '-o', options];
    await runWell('qemu-img', [...convert, '-f', 'raw', raw, made]);
    const container = containerOf(readFileSync(made), true);
    const image = await openOn(qcowDriver, container, undefined, Buffer.from(PASSPHRASE));
    expectSame(await contentOf(image), readFileSync(raw));
    const again = containerOf(readFileSync(made), true);
    await expect(openOn(qcowDriver, again)).rejects.toThrow(
      /it is enciphered; give its passphrase/,
    );
    const writable = containerOf(readFileSync(made));
    const passphrase = Buffer.from(PASSPHRASE);
    await expect(openOn(qcowDriver, writable, undefined, passphrase)).rejects.toThrow(/only read/);
  });

  it('an image by qemu-img on a base has no leaks, however its first level is padded', async () => {
    const directory = workspace();
    makeImage(directory, SIZE, 'base.raw');
    const made = join(directory, 'made.qcow');
    const create = ['create', '-f', 'qcow', '-b', 'base.raw', '-F', 'raw', made];
    await runWell('qemu-img', create);
    const sound = { corruptions: 0, leaks: 0, errors: 0 };
    const empty = containerOf(readFileSync(made));
    expect(await checkOf(qcowDriver, empty)).toMatchObject({ ...sound, allocatedUnits: 0 });
    await runWell('qemu-io', ['-f', 'qcow', '-c', 'write -P 3 1M 4k', made]);
    const written = containerOf(readFileSync(made));
    expect(await checkOf(qcowDriver, written)).toMatchObject({ ...sound, allocatedUnits: 8 });
  });

  it('qemu reads what is written here, plain and compressed', async () => {
    const directory = workspace();
    const content = readFileSync(makeImage(directory, SIZE));
    const container = emptyContainer();
    await createOn(qcowDriver, container, SIZE);
    const image = await openOn(qcowDriver, container);
    const half = 2 * 1024 * 1024;
    await image.write(content, 0, half + 1000, 0);
    for (let at = half + 4096; at < SIZE; at += image.unitBytes) {
      const unit = Buffer.alloc(image.unitBytes);
      content.copy(unit, 0, at);
      await image.writeCompressed(at, unit);
    }
    await image.write(content, half + 1000, 3096, half + 1000);
    await image.sync();
    const made = await saveTo(join(directory, 'made.qcow'), container);
    await image.close();
    const raw = join(directory, 'disk.raw');
    await runWell('qemu-img', ['compare', '-f', 'qcow', '-F', 'raw', made, raw]);
  });

  it('qemu reads partial writes over a backing file, in clusters larger than it makes', async () => {
    const directory = workspace();
    const raw = makeImage(directory, SIZE, 'base.raw');
    const base = readFileSync(raw);
    const container = emptyContainer();
    const settings = { cluster_size: '4096' };
    await createOn(qcowDriver, container, SIZE, settings, { backing: BASE });
    const image = await openOn(qcowDriver, container, base);
    const content = Buffer.from(base);
    for (const [offset, length] of [
      [1000, 10],
      [8192, 4096],
      [65000, 9000],
      [SIZE - 5, 5],
    ] as const) {
      await image.write(Buffer.alloc(length, 7), 0, length, offset);
      content.fill(7, offset, offset + length);
    }
    await image.sync();
    const made = await saveTo(join(directory, 'made.qcow'), container);
    await image.close();
    const expected = join(directory, 'expected.raw');
    writeFileSync(expected, content);
    const file = { driver: 'file', filename: made };
    const backing = { driver: 'raw', file: { driver: 'file', filename: raw } };
    const json = `json:${JSON.stringify({ driver: 'qcow', file, backing })}`;
    await runWell('qemu-img', ['compare', '-F', 'raw', json, expected]);
  });
});
