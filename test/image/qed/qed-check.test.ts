import { describe, expect, it } from 'vitest';
import { BlockImage } from '../../../src/image/image.ts';
import { qedDriver } from '../../../src/image/qed/driver.ts';
import { readQedHeader } from '../../../src/image/qed/header.ts';
import { QedFormat } from '../../../src/image/qed/qed.ts';
import { TmemError } from '../../../src/lib/errors.ts';
import {
  bytesOf,
  checkOf,
  containerOf,
  createOn,
  emptyContainer,
  FaultyContainer,
  openOn,
} from '../appended/images.ts';

const UNIT = 4096;
/** Where things are in the image that `made` makes: header, first level, a table, then data. */
const L1 = UNIT;
const L2 = 2 * UNIT;
const DATA = 3 * UNIT;

/** Ten clusters of data, each of its own byte. */
async function made(): Promise<Buffer> {
  const container = emptyContainer();
  await createOn(qedDriver, container, 100 * UNIT, { cluster_size: '4096', table_size: '1' });
  const image = await openOn(qedDriver, container);
  for (let i = 0; i < 10; i++) await image.write(Buffer.alloc(UNIT, i + 1), 0, UNIT, i * UNIT);
  await image.sync();
  await image.close();
  return bytesOf(container);
}

const poke = (image: Buffer, at: number, value: bigint) => image.writeBigUInt64LE(value, at);

describe('the check of a QED image', () => {
  it('finds nothing wrong with one that is sound', async () => {
    const image = await made();
    expect(await checkOf(qedDriver, containerOf(image))).toMatchObject({
      ...{ corruptions: 0, leaks: 0, errors: 0, totalUnits: 100, allocatedUnits: 10 },
      ...{ fragmentedUnits: 0, imageEndOffset: image.length },
    });
  });

  it.each([
    ['data off its cluster', L2 + 8, BigInt(DATA + 512)],
    ['data in the header', L2 + 8, 2n],
    ['data behind the file', L2 + 8, 2n ** 40n],
    ['data beyond numbers', L2 + 8, 2n ** 63n],
    ['a table off its cluster', L1, BigInt(L2 + 8)],
    ['a table behind the file', L1, 2n ** 40n],
    ['a table in an entry that the disk does not reach', L1 + 80, 2n ** 40n],
  ])('finds %s, and mends it with a hole', async (_what, at, value) => {
    const image = await made();
    poke(image, at, value);
    const container = containerOf(image);
    expect(await checkOf(qedDriver, container)).toMatchObject({ corruptions: 1 });
    expect((await bytesOf(container)).equals(image), 'a check alone changes nothing').toBe(true);
    const mended = await checkOf(qedDriver, container, 'all');
    expect(mended).toMatchObject({ corruptions: 0, corruptionsFixed: 1 });
    expect((await bytesOf(container)).readBigUInt64LE(at)).toBe(0n);
    expect(await checkOf(qedDriver, container)).toMatchObject({ corruptions: 0 });
  });

  it.each([
    ['a cluster', L2 + 8, BigInt(DATA)],
    ['a cluster that is the first level', L2 + 8, BigInt(L1)],
    ['a table', L1 + 8, BigInt(L2)],
    ['a table that is data', L1 + 8, BigInt(DATA)],
  ])('finds two references to %s, and leaves them and the mark', async (_what, at, value) => {
    const image = await made();
    poke(image, at, value);
    image.writeUInt32LE(2, 16);
    const container = containerOf(image);
    const report = await checkOf(qedDriver, container, 'all');
    expect(report).toMatchObject({ corruptionsFixed: 0 });
    expect(report.corruptions).toBeGreaterThan(0);
    expect((await qedDriver.info(container)).isDirty).toBe(true);
    await expect(openOn(qedDriver, container)).rejects.toThrow(/not closed well/);
    await openOn(qedDriver, containerOf(image, true)); // what is sound of it can be saved
  });

  it('counts leaks, and cuts off those at the end of the file alone', async () => {
    const image = await made();
    poke(image, L2 + 2 * 8, 0n); // a cluster in the middle
    poke(image, L2 + 8 * 8, 1n); // and the last two
    poke(image, L2 + 9 * 8, 0n);
    const container = containerOf(Buffer.concat([image, Buffer.alloc(100)]));
    expect(await checkOf(qedDriver, container)).toMatchObject({ corruptions: 0, leaks: 3 });
    const mended = await checkOf(qedDriver, container, 'leaks');
    expect(mended).toMatchObject({ leaks: 1, leaksFixed: 2 });
    expect(container.sizeBytes).toBe(image.length - 2 * UNIT);
    expect(await checkOf(qedDriver, container)).toMatchObject({ corruptions: 0, leaks: 1 });
  });

  it('goes on after a table that cannot be read, and says so', async () => {
    const storage = new FaultyContainer(containerOf(await made()));
    storage.onRead = (offset) => {
      if (offset === L2) throw new TmemError('io', 'cannot read: EIO');
    };
    const report = await checkOf(qedDriver, storage, 'all');
    expect(report).toMatchObject({ errors: 1, corruptions: 0, leaksFixed: 0 });
    expect(report.findings[0]?.message).toMatch(/table at 8192 cannot be read: cannot read: EIO/);
    expect(storage.sizeBytes, 'what it refers to is kept').toBe(13 * UNIT);
  });

  it('can be interrupted', async () => {
    const signal = AbortSignal.abort();
    const openFile = () => Promise.reject(new Error('no'));
    const check = qedDriver.check?.(containerOf(await made()), { signal, openFile });
    await expect(check).rejects.toMatchObject({ name: 'AbortError' });
  });
});

describe('the check of a QED image that is served', () => {
  async function served() {
    const container = emptyContainer();
    const settings = { cluster_size: '4096', table_size: '1' };
    await createOn(qedDriver, container, 2000 * UNIT, settings);
    const storage = new FaultyContainer(container);
    const header = await readQedHeader(storage);
    const format = await QedFormat.open(storage, header, { tableBytesMax: 65536 });
    const image = new BlockImage({ name: 'a', identity: 'a', medium: 'a', format });
    const write = (unit: number) => image.write(Buffer.alloc(UNIT, 1), 0, UNIT, unit * UNIT);
    return { container, storage, format, image, write };
  }

  it('counts no allocation under way as a leak, and no younger one as damage', async () => {
    const { storage, format, write, container } = await served();
    await write(0);
    await write(600);
    const held = storage.holdNext('write');
    const writing = write(1); // its space is given out before that of the next
    await held.arrived;
    await write(2);
    let isStarted = false;
    const younger: Promise<void>[] = [];
    const checking = format.checkOnline({
      onProgress: () => {
        if (!isStarted) younger.push(write(1200), write(3));
        isStarted = true;
      },
    });
    const report = await checking;
    expect(report).toMatchObject({ corruptions: 0, leaks: 0, errors: 0, allocatedUnits: 3 });
    held.release();
    await Promise.all([writing, ...younger]);
    await format.close();
    expect(await checkOf(qedDriver, container)).toMatchObject({ corruptions: 0, leaks: 0 });
  });

  it('finds the leaks that a crash left', async () => {
    const image = await made();
    poke(image, L2 + 8, 0n);
    const storage = containerOf(image);
    const header = await readQedHeader(storage);
    const format = await QedFormat.open(storage, header, { tableBytesMax: 65536 });
    expect(await format.checkOnline()).toMatchObject({ corruptions: 0, leaks: 1 });
    await format.close();
  });
});
