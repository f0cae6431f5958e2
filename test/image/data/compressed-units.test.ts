import { describe, expect, it } from 'vitest';
import { BlockImage } from '../../../src/image/image.ts';
import { FaultyStorage } from '../../storage/faulty-storage.ts';
import { MemoryStorage } from '../../storage/memory-storage.ts';
import { ToyFormat } from '../toy-format.ts';

const UNIT = 65_536;

function compressedImage(isAsync: boolean, unitCount = 4) {
  const storage = new FaultyStorage(new MemoryStorage(Buffer.alloc(0), { isContainer: true }));
  const sizeBytes = unitCount * UNIT;
  const format = new ToyFormat({ storage, sizeBytes, unitBytes: UNIT, isAsync });
  const image = new BlockImage({ name: 'toy', identity: 'toy', medium: 'toy', format });
  const readByte = async (offset: number) => {
    const byte = Buffer.alloc(1);
    await image.read(byte, 0, 1, offset);
    return byte[0];
  };
  return { storage, format, image, readByte };
}

describe('a compressed unit', () => {
  it('is decompressed once for all who read it, at once or later', async () => {
    const { format, image, readByte } = compressedImage(false);
    await image.writeCompressed(0, Buffer.alloc(UNIT, 5));
    const bytes = await Promise.all([0, 1, 4096, 60_000].map(readByte));
    expect([...bytes, await readByte(UNIT - 1)]).toEqual([5, 5, 5, 5, 5]);
    expect(format.decompressions).toBe(1);
  });

  it('is decompressed anew after every kind of change', async () => {
    const { image, readByte } = compressedImage(false);
    await image.writeCompressed(0, Buffer.alloc(UNIT, 5));
    expect(await readByte(10)).toBe(5);
    await image.writeCompressed(0, Buffer.alloc(UNIT, 6));
    expect(await readByte(10)).toBe(6);
    await image.writeZeroes(0, UNIT, true);
    // The space of the one before is used again, for the same unit.
    await image.writeCompressed(0, Buffer.alloc(UNIT, 7));
    expect(await readByte(10)).toBe(7);
    await image.write(Buffer.from([8]), 0, 1, 9);
    await image.writeCompressed(0, Buffer.alloc(UNIT, 9));
    expect(await readByte(10)).toBe(9);
    await image.discard(0, UNIT);
    await image.writeCompressed(0, Buffer.alloc(UNIT, 10));
    expect(await readByte(10)).toBe(10);
  });

  it('that changes while it is decompressed is not kept as it was', async () => {
    const { storage, image, readByte } = compressedImage(false);
    await image.writeCompressed(0, Buffer.alloc(UNIT, 5));
    const hold = storage.holdNext('read');
    const read = readByte(10);
    await hold.arrived;
    await image.discard(0, UNIT);
    hold.release();
    expect(await read).toBe(5); // it was asked for before
    await image.writeCompressed(0, Buffer.alloc(UNIT, 6));
    expect(await readByte(10)).toBe(6);
  });

  it('is read alone where nobody can say that it is still there', async () => {
    const { format, image, readByte } = compressedImage(true);
    await image.writeCompressed(0, Buffer.alloc(UNIT, 5));
    expect([await readByte(0), await readByte(1), format.decompressions]).toEqual([5, 5, 2]);
  });

  it('that cannot be decompressed fails its reader, and can be tried again', async () => {
    const { storage, image, readByte } = compressedImage(false);
    await image.writeCompressed(0, Buffer.alloc(UNIT, 5));
    storage.failNext('read');
    await expect(readByte(0)).rejects.toMatchObject({ kind: 'io' });
    expect(await readByte(0)).toBe(5);
  });

  it('is one of at most eight that a read has under way', async () => {
    const { storage, image } = compressedImage(false, 40);
    for (let i = 0; i < 40; i++) await image.writeCompressed(i * UNIT, Buffer.alloc(UNIT, i));
    let running = 0;
    let runningMax = 0;
    storage.onRead = async () => {
      runningMax = Math.max(runningMax, ++running);
      await new Promise((resolve) => setImmediate(resolve));
      running--;
    };
    const read = Buffer.alloc(40 * UNIT);
    await image.read(read, 0, read.length, 0);
    expect(runningMax).toBe(8);
    expect(Array.from({ length: 40 }, (_, i) => read[i * UNIT])).toEqual([...Array(40).keys()]);
  });
});

describe('a request of many runs', () => {
  it('that fails ends when no run touches its buffer any more', async () => {
    const { storage, image } = compressedImage(false);
    await image.write(Buffer.alloc(4 * UNIT, 3), 0, 4 * UNIT, 0);
    const hold = storage.holdNext('read');
    storage.failNext('read');
    const read = Buffer.alloc(4 * UNIT);
    let hasEnded = false;
    const asked = image.read(read, 0, read.length, 0).finally(() => {
      hasEnded = true;
    });
    await hold.arrived;
    for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve));
    expect(hasEnded).toBe(false);
    hold.release();
    await expect(asked).rejects.toMatchObject({ kind: 'io' });
    expect(read[0]).toBe(3);
  });
});
