import { appendFileSync, readFileSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { checkQcow2 } from '../../../src/image/qcow2/check/check.ts';
import { rebaseQcow2 } from '../../../src/image/qcow2/rebase.ts';
import { parseHeader } from '../../../src/image/qcow2/structures/header.ts';
import { encodeHeader } from '../../../src/image/qcow2/structures/header-encode.ts';
import { extensionOf } from '../../../src/image/qcow2/structures/header-extensions.ts';
import { EXTENSION, FIELD } from '../../../src/image/qcow2/structures/layout.ts';
import { type FileStorage, openFileStorage } from '../../../src/storage/file.ts';
import { needsPrograms, runProgram, runWell } from '../../tools/programs.ts';
import { makeImage, workspace } from '../../tools/workspace.ts';
import {
  contentByQemu,
  contentOf,
  create,
  expectClean,
  expectSame,
  MIB,
  openAt,
} from './images.ts';

/** Sets bits in one of the three feature fields of the file. */
function setBits(path: string, field: number, bits: bigint): void {
  const bytes = readFileSync(path);
  bytes.writeBigUInt64BE(bytes.readBigUInt64BE(field) | bits, field);
  writeFileSync(path, bytes);
}

const noFile = () => Promise.reject(new Error('nothing is named here'));

const bitsOf = (path: string, field: number) => readFileSync(path).readBigUInt64BE(field);

describe('feature bits of a qcow2 image', () => {
  needsPrograms('qemu-img', 'qemu-io');

  it('that are compatible and unknown are left alone', async () => {
    const image = await create(`${workspace()}/disk.qcow2`, MIB);
    setBits(image, FIELD.compatible, 1n << 40n);
    const disk = await openAt(image);
    await disk.write(Buffer.alloc(512, 1), 0, 512, 0);
    await disk.close();
    expect(bitsOf(image, FIELD.compatible)).toBe(1n << 40n);
  });

  it('that clear themselves are cleared by the first write, not by opening', async () => {
    const image = await create(`${workspace()}/disk.qcow2`, MIB);
    setBits(image, FIELD.autoclear, (1n << 33n) | 1n);
    await (await openAt(image)).close();
    expect(bitsOf(image, FIELD.autoclear)).toBe((1n << 33n) | 1n);
    const disk = await openAt(image);
    await disk.write(Buffer.alloc(512, 1), 0, 512, 0);
    expect(bitsOf(image, FIELD.autoclear)).toBe(0n);
    await disk.close();
    await expectClean(image);
  });

  it.each([
    [
      'by a repair',
      (storage: FileStorage) => checkQcow2(storage, { repair: 'leaks', openFile: noFile }),
    ],
    [
      'when the image is put on another base',
      (storage: FileStorage) => {
        const name = 'base.raw';
        return rebaseQcow2(storage, { role: 'backing file', name, formatName: 'raw' });
      },
    ],
  ])('that clear themselves and are unknown are cleared %s', async (_when, change) => {
    const image = await create(`${workspace()}/disk.qcow2`, MIB);
    await runWell('qemu-img', ['bitmap', '--add', image, 'backup']);
    setBits(image, FIELD.autoclear, 1n << 33n);
    const storage = await openFileStorage(image, { isReadOnly: false, isContainer: true });
    await change(storage);
    await storage.close();
    expect(bitsOf(image, FIELD.autoclear)).toBe(1n); // that of bitmaps
  });

  it('that are incompatible and unknown are refused by the name that the image gives', async () => {
    const image = await create(`${workspace()}/disk.qcow2`, MIB);
    setBits(image, FIELD.incompatible, 1n << 9n);
    await expect(openAt(image, { isReadOnly: true })).rejects.toThrow(
      /feature bit 9, which is not known/,
    );
    const bytes = readFileSync(image);
    const named = bytes.indexOf('dirty bit');
    bytes.writeUInt8(9, named - 1);
    bytes.write('time travel\0', named);
    writeFileSync(image, bytes);
    await expect(openAt(image)).rejects.toThrow(/needs the feature "time travel"/);
  });

  it('that say corrupt keep writers out, and let readers in', async () => {
    const image = await create(`${workspace()}/disk.qcow2`, MIB);
    setBits(image, FIELD.incompatible, 2n);
    await expect(openAt(image)).rejects.toMatchObject({ kind: 'invalid' });
    const disk = await openAt(image, { isReadOnly: true });
    expectSame(await contentOf(disk), Buffer.alloc(MIB));
    await disk.close();
  });

  it('that say dirty have the refcounts mended before the first write', async () => {
    const directory = workspace();
    const image = await create(`${directory}/disk.qcow2`, MIB, { lazy_refcounts: 'on' });
    const killed = ['-c', 'write -P 5 0 700k', '-c', 'flush', '-c', 'sigraise 9'];
    await runProgram('qemu-io', ['-f', 'qcow2', ...killed, image]);
    expect(bitsOf(image, FIELD.incompatible)).toBe(1n);
    const expected = Buffer.alloc(MIB);
    expected.fill(5, 0, 700 * 1024);
    const reader = await openAt(image, { isReadOnly: true });
    expectSame(await contentOf(reader), expected, 'content before the repair');
    await reader.close();
    const disk = await openAt(image);
    await disk.write(Buffer.alloc(512, 6), 0, 512, 800 * 1024);
    expected.fill(6, 800 * 1024, 800 * 1024 + 512);
    await disk.close();
    expect(bitsOf(image, FIELD.incompatible)).toBe(0n);
    await expectClean(image);
    expectSame(await contentByQemu(image, directory), expected);
  });
});

describe('a data file', () => {
  needsPrograms('qemu-img');

  it.each(['on', 'off'])('with data_file_raw=%s is written at the guest offsets', async (raw) => {
    const directory = workspace();
    const data = `${directory}/data.raw`;
    const image = `${directory}/disk.qcow2`;
    await create(image, 4 * MIB, { data_file: data, data_file_raw: raw });
    const dataFile = await openFileStorage(data, { isReadOnly: false, isContainer: true });
    const disk = await openAt(image, { dataFile });
    const model = readFileSync(makeImage(directory, 4 * MIB));
    await disk.write(model, 0, 3 * MIB, 0);
    await disk.writeZeroes(MIB, 300_000, true);
    await disk.writeZeroes(2 * MIB, 65_536, false);
    await disk.discard(5 * 65_536, 65_536);
    model.fill(0, 3 * MIB);
    model.fill(0, MIB, MIB + 300_000);
    model.fill(0, 2 * MIB, 2 * MIB + 65_536);
    await disk.read(model, 5 * 65_536, 65_536, 5 * 65_536);
    expectSame(await contentOf(disk), model);
    await disk.close();
    await expectClean(image);
    expectSame(await contentByQemu(image, directory), model, 'content by qemu-img');
    if (raw === 'on') expectSame(readFileSync(data), model, 'data file');
  });

  it('that is raw and was longer than the disk is what the guest reads when that grows', async () => {
    const directory = workspace();
    const data = `${directory}/data.raw`;
    const image = `${directory}/disk.qcow2`;
    await create(image, 2 * MIB + 512, { data_file: data, data_file_raw: 'on' });
    // As when the power was lost while the disk became smaller.
    appendFileSync(data, Buffer.alloc(MIB, 7));
    const dataFile = await openFileStorage(data, { isReadOnly: false, isContainer: true });
    const disk = await openAt(image, { dataFile });
    await disk.resize(4 * MIB);
    const content = await contentOf(disk);
    expectSame(content, Buffer.alloc(4 * MIB));
    await disk.close();
    expectSame(readFileSync(data), content, 'data file');
    await expectClean(image);
  });
});

describe('a header', () => {
  needsPrograms('qemu-img');

  it('is rewritten with all that is not known here', async () => {
    const directory = workspace();
    const raw = makeImage(directory, MIB);
    const image = await create(`${directory}/disk.qcow2`, MIB, {}, ['-b', raw, '-F', 'raw']);
    const header = parseHeader(readFileSync(image), image);
    const unknown = { type: 0x1234_5678, data: Buffer.from('from the future') };
    const longer = {
      ...header,
      headerBytes: 128,
      tail: Buffer.alloc(23, 0xab),
      extensions: [...header.extensions, unknown],
    };
    const bytes = encodeHeader(longer, image);
    const rest = readFileSync(image).subarray(bytes.length);
    writeFileSync(image, Buffer.concat([bytes, rest]));
    expect(parseHeader(readFileSync(image), image)).toEqual(longer);
    const again = encodeHeader(parseHeader(bytes, image), image);
    expectSame(again, bytes, 'header');
    expect(await runWell('qemu-img', ['info', '-f', 'qcow2', image])).toContain(raw);
    await expectClean(image);
  });

  it('of qemu-img names the format of its backing file, and its features', async () => {
    const directory = workspace();
    const raw = makeImage(directory, MIB);
    const image = await create(`${directory}/disk.qcow2`, MIB, {}, ['-b', raw, '-F', 'raw']);
    const { extensions, backingName } = parseHeader(readFileSync(image), image);
    expect(backingName).toBe(raw);
    expect(extensionOf(extensions, EXTENSION.backingFormat)?.toString()).toBe('raw');
    expect(extensionOf(extensions, EXTENSION.featureNames)?.toString()).toContain('dirty bit');
  });
});
