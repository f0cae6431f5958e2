import { describe, expect, it } from 'vitest';
import type { FormatDriver } from '../../../src/image/format.ts';
import { qcowDriver } from '../../../src/image/qcow/driver.ts';
import { qedDriver } from '../../../src/image/qed/driver.ts';
import { BASE, bytesOf, checkOf, containerOf, createOn, emptyContainer, openOn } from './images.ts';

const UNIT = 4096;
const SIZE = 1100 * UNIT;
const LOST = { kind: 'io', message: expect.stringContaining('check the image') };

/** Units 0, 2, 4 and 6 are written, and unit 1090, which another table has. */
async function made(driver: FormatDriver, settings: Record<string, string>): Promise<Buffer> {
  const container = emptyContainer();
  await createOn(driver, container, SIZE, settings);
  const image = await openOn(driver, container);
  for (const unit of [0, 2, 4, 1090, 6]) {
    await image.write(Buffer.alloc(UNIT, unit % 251), 0, UNIT, unit * UNIT);
  }
  await image.close();
  return bytesOf(container);
}

async function fillOf(driver: FormatDriver, bytes: Buffer, unit: number): Promise<number> {
  const image = await openOn(driver, containerOf(bytes));
  const read = Buffer.alloc(UNIT);
  await image.read(read, 0, UNIT, unit * UNIT);
  await image.close();
  expect(read.equals(Buffer.alloc(UNIT, read[0]))).toBe(true);
  return read[0] ?? -1;
}

describe.each([
  { driver: qedDriver, settings: { cluster_size: '4096', table_size: '1' } },
  { driver: qcowDriver, settings: { cluster_size: '4096' } },
])('a $driver.formatName file that has lost its end', ({ driver, settings }) => {
  // The last unit of data; that and its neighbour, a table.
  it.each([1, 2, 3])('shows nothing new in place of %d lost units', async (lostCount) => {
    const whole = await made(driver, settings);
    const bytes = whole.subarray(0, whole.length - lostCount * UNIT);
    const container = containerOf(bytes);
    const image = await openOn(driver, container);
    await expect(image.write(Buffer.alloc(UNIT, 99), 0, UNIT, 8 * UNIT)).rejects.toMatchObject(
      LOST,
    );
    await image.write(Buffer.alloc(512, 77), 0, 512, 0); // there is room for that
    await expect(image.read(Buffer.alloc(512), 0, 512, 6 * UNIT)).rejects.toMatchObject(LOST);
    await image.close();
    const after = await bytesOf(container);
    expect(after.length).toBe(bytes.length);
    expect(await fillOf(driver, after, 2)).toBe(2);
    await expect(fillOf(driver, after, 6)).rejects.toMatchObject(LOST);
  });

  it('takes new data again when the check has made holes of what it lost', async () => {
    const whole = await made(driver, settings);
    const container = containerOf(whole.subarray(0, whole.length - UNIT));
    await checkOf(driver, container, 'all');
    const image = await openOn(driver, container);
    await image.write(Buffer.alloc(UNIT, 99), 0, UNIT, 8 * UNIT);
    await image.close();
    const after = await bytesOf(container);
    expect(await fillOf(driver, after, 6)).toBe(0);
    expect(await fillOf(driver, after, 8)).toBe(99);
    expect(await checkOf(driver, container)).toMatchObject({ corruptions: 0, leaks: 0 });
  });

  it('grows up to a place that a damaged entry names, and not over it', async () => {
    const whole = await made(driver, settings);
    const last = whole.length - UNIT;
    const isBig = driver === qcowDriver;
    const at = isBig ? whole.indexOf(be(last)) : whole.indexOf(le(last));
    (isBig ? be(last + 4 * UNIT) : le(last + 4 * UNIT)).copy(whole, at);
    const image = await openOn(driver, containerOf(whole));
    const write = (unit: number) => image.write(Buffer.alloc(UNIT, 99), 0, UNIT, unit * UNIT);
    for (const unit of [8, 9, 10]) await write(unit);
    await expect(write(11)).rejects.toMatchObject(LOST);
    await expect(image.read(Buffer.alloc(512), 0, 512, 6 * UNIT)).rejects.toMatchObject(LOST);
    await image.close();
  });
});

function le(value: number): Buffer {
  const raw = Buffer.alloc(8);
  raw.writeBigUInt64LE(BigInt(value));
  return raw;
}

function be(value: number): Buffer {
  return le(value).swap64();
}

it('zeroes that need a table are refused as data is', async () => {
  const settings = { cluster_size: '4096', table_size: '1' };
  const container = emptyContainer();
  await createOn(qedDriver, container, SIZE, settings, { backing: BASE });
  const base = Buffer.alloc(SIZE, 5);
  const made = await openOn(qedDriver, container, base);
  await made.write(Buffer.alloc(UNIT, 1), 0, UNIT, 0);
  await made.close();
  const bytes = await bytesOf(container);
  const cut = containerOf(bytes.subarray(0, bytes.length - UNIT));
  const image = await openOn(qedDriver, cut, base);
  await expect(image.writeZeroes(1090 * UNIT, UNIT, true)).rejects.toMatchObject(LOST);
  await image.close();
});

it('a qcow file cut within a compressed cluster takes nothing new', async () => {
  const container = emptyContainer();
  await createOn(qcowDriver, container, SIZE, { cluster_size: '4096' });
  const made = await openOn(qcowDriver, container);
  await made.writeCompressed(0, Buffer.alloc(UNIT, 1));
  await made.close();
  const bytes = await bytesOf(container);
  const cut = containerOf(bytes.subarray(0, bytes.length - 1));
  const image = await openOn(qcowDriver, cut);
  await expect(image.write(Buffer.alloc(UNIT), 0, UNIT, UNIT)).rejects.toMatchObject(LOST);
  await image.close();
});
