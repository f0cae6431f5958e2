import { describe, expect, it } from 'vitest';
import { FaultyContainer } from '../appended/images.ts';
import { checkSmall, memoryOf, openSmall, SECTOR, smallImage } from './hand-made.ts';

const GRAIN = 8 * SECTOR;
const LOST = { kind: 'io', message: expect.stringContaining('nothing new can be put there') };

/** Kept when the image on it is closed. */
function kept(bytes: Buffer) {
  return Object.assign(memoryOf(Buffer.from(bytes)), { close: async () => undefined });
}

async function bytesOf(storage: ReturnType<typeof kept>): Promise<Buffer> {
  const bytes = Buffer.alloc(storage.sizeBytes);
  await storage.read(bytes, 0, bytes.length, 0);
  return bytes;
}

/** Grains 0, 2, 4 and 6 are written, all in one table; the disk has 64 in eight. */
async function made(hasTables: boolean): Promise<Buffer> {
  const storage = kept(smallImage({ capacitySectors: 512, hasTables }));
  const image = await openSmall(storage);
  for (const grain of [0, 2, 4, 6]) {
    await image.write(Buffer.alloc(GRAIN, grain + 1), 0, GRAIN, grain * GRAIN);
  }
  await image.close();
  return bytesOf(storage);
}

describe.each([true, false])(
  'a VMDK that has lost its end, tables made with it: %s',
  (hasTables) => {
    it.each([1, 2])('shows nothing new in place of %d lost grains', async (lostCount) => {
      const whole = await made(hasTables);
      const storage = kept(whole.subarray(0, whole.length - lostCount * GRAIN));
      const image = await openSmall(storage);
      const write = (fill: number, grain: number) =>
        image.write(Buffer.alloc(GRAIN, fill), 0, GRAIN, grain * GRAIN);
      await expect(write(99, 1)).rejects.toMatchObject(LOST);
      await expect(write(99, 60)).rejects.toMatchObject(LOST); // in a table that may have to be made
      await write(77, 0); // there is room for that
      await expect(image.read(Buffer.alloc(512), 0, 512, 6 * GRAIN)).rejects.toThrow('damaged');
      // What is given up makes room.
      await image.discard(0, 3 * GRAIN);
      await image.sync();
      await image.sync();
      await image.write(Buffer.alloc(2 * GRAIN, 55), 0, 2 * GRAIN, 0);
      await image.close();
      const again = await openSmall(kept(await bytesOf(storage)));
      const read = Buffer.alloc(GRAIN);
      await again.read(read, 0, GRAIN, 2 * GRAIN);
      expect(read.equals(Buffer.alloc(GRAIN))).toBe(true);
      await again.read(read, 0, GRAIN, GRAIN);
      expect(read.equals(Buffer.alloc(GRAIN, 55))).toBe(true);
      await expect(again.read(read, 0, GRAIN, 6 * GRAIN)).rejects.toThrow('damaged');
    });
  },
);

it('a table that cannot be read once is read again for the next new grain', async () => {
  const storage = new FaultyContainer(kept(await made(true)));
  const image = await openSmall(storage);
  await image.read(Buffer.alloc(GRAIN), 0, GRAIN, GRAIN); // what the write itself needs is in memory
  storage.failNext('read');
  const write = () => image.write(Buffer.alloc(GRAIN, 9), 0, GRAIN, GRAIN);
  await expect(write()).rejects.toMatchObject({ kind: 'io' });
  await write();
  await image.close();
});

it('an image that was not closed takes new data when its copies have no lost grain any more', async () => {
  const whole = await made(true);
  const bytes = whole.subarray(0, whole.length - GRAIN);
  bytes[72] = 1; // not closed
  // The grain had not reached the disk, nor the copy of its table.
  const copy = bytes.readUInt32LE(4 * SECTOR) * SECTOR;
  bytes.writeUInt32LE(0, copy + 6 * 4);
  const storage = kept(bytes);
  const image = await openSmall(storage);
  await image.write(Buffer.alloc(GRAIN, 99), 0, GRAIN, GRAIN);
  await image.close();
  const after = await bytesOf(storage);
  expect(await checkSmall(after)).toMatchObject({ corruptions: 0, leaks: 0 });
  const again = await openSmall(kept(after));
  const read = Buffer.alloc(GRAIN);
  await again.read(read, 0, GRAIN, 6 * GRAIN);
  expect(read.equals(Buffer.alloc(GRAIN))).toBe(true);
  await again.read(read, 0, GRAIN, GRAIN);
  expect(read.equals(Buffer.alloc(GRAIN, 99))).toBe(true);
});
