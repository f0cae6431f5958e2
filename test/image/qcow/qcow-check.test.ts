import { describe, expect, it } from 'vitest';
import { qcowDriver } from '../../../src/image/qcow/driver.ts';
import { readQcowHeader } from '../../../src/image/qcow/header.ts';
import { TmemError } from '../../../src/lib/errors.ts';
import { pattern } from '../../storage/contract.ts';
import { expectSame } from '../appended/image-model.ts';
import {
  BASE,
  bytesOf,
  checkOf,
  containerOf,
  contentOf,
  createOn,
  emptyContainer,
  openOn,
} from '../appended/images.ts';

const UNIT = 4096;
const SIZE = 100 * UNIT;
/** Where things are in the image that `made` makes. */
const L1 = 48;
const L2 = UNIT;
const DATA = 2 * UNIT;

/** Ten clusters of data, then one that is compressed. */
async function made(): Promise<Buffer> {
  const container = emptyContainer();
  await createOn(qcowDriver, container, SIZE);
  const image = await openOn(qcowDriver, container);
  await image.write(pattern(10 * UNIT), 0, 10 * UNIT, 0);
  await image.writeCompressed(10 * UNIT, Buffer.alloc(UNIT, 7));
  await image.close();
  return bytesOf(container);
}

const poke = (image: Buffer, at: number, value: bigint) => image.writeBigUInt64BE(value, at);

describe('the check of a qcow image', () => {
  it('finds nothing wrong with one that is sound', async () => {
    expect(await checkOf(qcowDriver, containerOf(await made()))).toMatchObject({
      ...{ corruptions: 0, leaks: 0, errors: 0 },
      ...{ totalUnits: 100, allocatedUnits: 11, compressedUnits: 1 },
    });
  });

  it.each([
    ['data off its sector', L2 + 8, BigInt(DATA + 8)],
    ['data in the header', L2 + 8, 8n],
    ['data behind the file', L2 + 8, 2n ** 40n],
    ['data beyond numbers', L2 + 8, 2n ** 62n],
    ['a table off its sector', L1, BigInt(L2 + 8)],
    ['a table behind the file', L1, 2n ** 40n],
    ['a compressed cluster of no byte', L2 + 8, 2n ** 63n + BigInt(DATA)],
    ['a compressed cluster behind the file', L2 + 8, 2n ** 63n + 2n ** 52n + 2n ** 40n],
  ])('finds %s, and mends it with a hole', async (_what, at, value) => {
    const image = await made();
    poke(image, at, value);
    const container = containerOf(image);
    expect(await checkOf(qcowDriver, container)).toMatchObject({ corruptions: 1 });
    const mended = await checkOf(qcowDriver, container, 'all');
    expect(mended).toMatchObject({ corruptions: 0, corruptionsFixed: 1 });
    expect((await bytesOf(container)).readBigUInt64BE(at)).toBe(0n);
  });

  it.each([
    ['a cluster', L2 + 8, BigInt(DATA)],
    ['a cluster that is a table', L2 + 8, BigInt(L2)],
    ['a cluster that is compressed elsewhere', L2 + 8, 2n ** 63n + (9n << 51n) + BigInt(DATA)],
  ])('finds two uses of %s, and leaves them', async (_what, at, value) => {
    const image = await made();
    poke(image, at, value);
    const report = await checkOf(qcowDriver, containerOf(image), 'all');
    expect(report.corruptions).toBeGreaterThan(0);
    expect(report.corruptionsFixed).toBe(0);
  });

  it('counts what lies between two things by whole clusters, wherever that begins and ends', async () => {
    const image = await made();
    const begin = Math.ceil(image.length / 512);
    for (let sectors = 0; sectors < 100; sectors += 3) {
      const end = (begin + sectors) * 512;
      const longer = Buffer.concat([image, Buffer.alloc(end + UNIT - image.length)]);
      poke(longer, L2 + 20 * 8, BigInt(end));
      const leaks = Math.floor((sectors * 512) / UNIT);
      const report = await checkOf(qcowDriver, containerOf(longer));
      expect(report, `${sectors}`).toMatchObject({ corruptions: 0, leaks, allocatedUnits: 12 });
    }
  });

  it('counts leaks, and cuts off those at the end of the file alone', async () => {
    const image = await made();
    poke(image, L2 + 2 * 8, 0n);
    const container = containerOf(Buffer.concat([image, Buffer.alloc(3 * UNIT)]));
    const report = await checkOf(qcowDriver, container, 'leaks');
    expect(report).toMatchObject({ corruptions: 0, leaks: 1 });
    expect(report.leaksFixed).toBeGreaterThan(1);
    expect(container.sizeBytes).toBeLessThan(image.length + 512);
    expect(await checkOf(qcowDriver, container)).toMatchObject({ corruptions: 0, leaks: 1 });
  });
});

it.each([
  ['magic', 0, 4, 0n, /no qcow magic/],
  ['version 2', 4, 4, 2n, /version 2/],
  ['clusters of 256 bytes', 32, 1, 8n, /8 cluster bits/],
  ['clusters of 128 KiB', 32, 1, 17n, /17 cluster bits/],
  ['tables of 32 entries', 33, 1, 5n, /offset 33/],
  ['tables of 16384 entries', 33, 1, 14n, /offset 33/],
  ['another cipher', 36, 4, 2n, /offset 36/],
  ['a size of one byte', 24, 8, 1n, /is of 1 bytes/],
  ['a first level of 4 GiB', 24, 8, 2n ** 50n, /first level of/],
  ['a size beyond numbers', 24, 8, 2n ** 64n - 1n, /too large/],
  ['a first level in the header', 40, 8, 0n, /offset 40/],
  ['a first level behind the file', 40, 8, 2n ** 40n, /offset 40/],
  ['a backing file name behind the file', 8, 8, 2n ** 40n, /backing file name/],
  ['a backing file name of 1024 bytes', 16, 4, 1024n, /1024 bytes/],
] as const)(
  'a header with %s is refused in one sentence',
  async (_what, at, bytes, value, expected) => {
    const container = emptyContainer();
    await createOn(qcowDriver, container, SIZE, {}, { backing: BASE });
    const image = await bytesOf(container);
    if (bytes === 8) image.writeBigUInt64BE(value, at);
    else image.writeUIntBE(Number(value), at, bytes);
    const opening = readQcowHeader(containerOf(image));
    await expect(opening).rejects.toThrow(expected);
    await expect(opening).rejects.toBeInstanceOf(TmemError);
  },
);

describe('an image of blktap', () => {
  /** The header's extension, and the first level at 4 KiB as such images have it. */
  async function xen(flags: number): Promise<{ image: Buffer; content: Buffer }> {
    const plain = await made();
    const content = await contentOf(await openOn(qcowDriver, containerOf(plain, true)));
    const image = Buffer.alloc(plain.length + UNIT);
    plain.copy(image, UNIT, UNIT); // everything but the header stays
    plain.copy(image, 0, 0, 48);
    const l1 = plain.length;
    poke(image, 40, BigInt(l1 - (l1 % UNIT) + (l1 % UNIT === 0 ? 0 : UNIT)));
    image.writeUInt32BE(0x58454efb, 48);
    image.writeUInt32BE(flags, 60);
    const at = Number(image.readBigUInt64BE(40));
    const entry = plain.readBigUInt64BE(L1);
    const whole = Buffer.concat([image, Buffer.alloc(UNIT)]);
    if ((flags & 2) === 0) whole.writeBigUInt64LE(entry, at);
    else whole.writeBigUInt64BE(entry, at);
    return { image: whole, content };
  }

  it.each([0, 2])('is read, whatever the order of its first level (flags %i)', async (flags) => {
    const { image, content } = await xen(flags);
    const container = containerOf(image, true);
    expectSame(await contentOf(await openOn(qcowDriver, container)), content);
    expect((await bytesOf(container)).equals(image)).toBe(true);
    expect(await checkOf(qcowDriver, containerOf(image))).toMatchObject({ corruptions: 0 });
    await expect(openOn(qcowDriver, containerOf(image))).rejects.toThrow(/made by blktap/);
    await expect(checkOf(qcowDriver, containerOf(image), 'all')).rejects.toThrow(/blktap/);
  });
});

it('a compressed cluster that does not give a cluster is an error that names it', async () => {
  const image = await made();
  image.fill(0xff, 12 * UNIT, 12 * UNIT + 8);
  const opened = await openOn(qcowDriver, containerOf(image, true));
  const reading = opened.read(Buffer.alloc(UNIT), 0, UNIT, 10 * UNIT);
  await expect(reading).rejects.toThrow(/at offset 49152 of "test.img".*damaged/);
});
