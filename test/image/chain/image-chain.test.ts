import { describe, expect, it } from 'vitest';
import { BlockImage } from '../../../src/image/image.ts';
import { rawImage } from '../../../src/image/raw.ts';
import { pattern } from '../../storage/contract.ts';
import { FaultyStorage } from '../../storage/faulty-storage.ts';
import { MemoryStorage } from '../../storage/memory-storage.ts';
import { ToyFormat } from '../toy-format.ts';

const UNIT = 4096;

function overlay(sizeBytes: number, baseBytes: number) {
  const below = new FaultyStorage(new MemoryStorage(pattern(baseBytes)));
  const storage = new FaultyStorage(new MemoryStorage(Buffer.alloc(0), { isContainer: true }));
  const format = new ToyFormat({ storage, sizeBytes, unitBytes: UNIT, hasBacking: true });
  const parts = { name: 'toy', identity: 'toy', medium: 'toy', format };
  const image = new BlockImage({ ...parts, backing: rawImage(below, 'base') });
  return { image, below, storage, format };
}

describe('an image on another', () => {
  it('that grows does not show what the longer one below has there', async () => {
    const { image } = overlay(2 * UNIT, 4 * UNIT + 512);
    await image.resize(6 * UNIT);
    const read = Buffer.alloc(6 * UNIT, 1);
    await image.read(read, 0, read.length, 0);
    expect(read.subarray(0, 2 * UNIT).equals(pattern(2 * UNIT))).toBe(true);
    expect(read.subarray(2 * UNIT).every((byte) => byte === 0)).toBe(true);
  });

  it('asks the one below nothing for what it defines itself', async () => {
    const { image, below } = overlay(4 * UNIT, 4 * UNIT);
    await image.write(Buffer.alloc(2 * UNIT, 1), 0, 2 * UNIT, 0);
    await image.writeZeroes(2 * UNIT, UNIT, true);
    await image.read(Buffer.alloc(3 * UNIT), 0, 3 * UNIT, 0);
    await image.extent(0, 3 * UNIT);
    expect(below.requests).toMatchObject({ read: 0, extent: 0 });
    expect(image.backing?.counters.read.requests).toBe(0);
  });

  it('reads below once for what is around a small write, and nothing for whole units', async () => {
    const { image, below } = overlay(4 * UNIT, 4 * UNIT);
    const ranges: number[][] = [];
    below.onRead = (offset, length) => {
      ranges.push([offset, length]);
    };
    await image.write(Buffer.alloc(UNIT, 1), 0, UNIT, UNIT);
    expect(ranges).toEqual([]);
    await image.write(Buffer.alloc(100, 1), 0, 100, 50);
    expect(ranges).toEqual([[0, UNIT]]);
  });

  it('closes everything, though something fails', async () => {
    const { image, below, storage, format } = overlay(UNIT, UNIT);
    Object.assign(format, { close: () => Promise.reject(new Error('the tables')) });
    await expect(image.close()).rejects.toThrow('the tables');
    for (const each of [below, storage]) {
      await expect(each.sync()).rejects.toMatchObject({ kind: 'shutdown' });
    }
  });
});

describe('a write', () => {
  it('of what is there, or of whole units, passes on the buffer as it is', async () => {
    const { image, storage } = overlay(4 * UNIT, UNIT);
    const buffers: Buffer[] = [];
    const inner = storage.inner.write.bind(storage.inner);
    storage.inner.write = (buffer, ...rest) => {
      buffers.push(buffer);
      return inner(buffer, ...rest);
    };
    const mine = Buffer.alloc(3 * UNIT, 2);
    await image.write(mine, 0, 2 * UNIT, 0);
    await image.write(mine, 7, 100, 50);
    expect(buffers.length).toBe(3);
    expect(buffers.every((buffer) => buffer === mine)).toBe(true);
  });
});

describe('zeroing', () => {
  it('skips ends that are zeros already, and is fast for whole units alone', async () => {
    const { image, storage } = overlay(8 * UNIT, UNIT);
    await image.writeZeroes(2 * UNIT - 100, 2 * UNIT, true);
    expect(storage.requests.write).toBe(0);
    const unsupported = { kind: 'unsupported' };
    await expect(image.writeZeroes(5, 100, true, true)).rejects.toMatchObject(unsupported);
    await image.writeZeroes(4 * UNIT, 2 * UNIT, true, true);
    await image.writeZeroes(5, 100, true);
    expect(storage.requests.write).toBe(1);
  });
});
