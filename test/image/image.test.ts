import { describe, expect, it } from 'vitest';
import type { ImageFormat, Mapping } from '../../src/image/format.ts';
import { BlockImage } from '../../src/image/image.ts';
import { rawImage } from '../../src/image/raw.ts';
import { pattern } from '../storage/contract.ts';
import { FaultyStorage } from '../storage/faulty-storage.ts';
import { MemoryStorage } from '../storage/memory-storage.ts';

const RUN_BYTES = 1000;

/** Runs of 1000 bytes: data back to front, a zero, a hole, and so on; `isAsync` for promises. */
function patchwork(isAsync: boolean, backing?: BlockImage) {
  const data = Buffer.concat([pattern(RUN_BYTES).fill(1), pattern(RUN_BYTES).fill(2)]);
  const storage = new FaultyStorage(new MemoryStorage(data));
  const runs = [
    { kind: 'data', storage, storageOffset: RUN_BYTES },
    { kind: 'zero' },
    { kind: 'data', storage, storageOffset: 0 },
    { kind: 'hole' },
  ] as const;
  const map = (offset: number): Mapping => {
    const run = runs[Math.floor(offset / RUN_BYTES)] ?? { kind: 'hole' };
    const inRun = offset % RUN_BYTES;
    const length = RUN_BYTES - inRun;
    if (run.kind !== 'data') return { ...run, length };
    return { ...run, length, storageOffset: run.storageOffset + inRun };
  };
  const format: ImageFormat = {
    formatName: 'vmdk',
    virtualSizeBytes: runs.length * RUN_BYTES,
    storages: [storage],
    map: isAsync ? async (offset) => map(offset) : map,
  };
  const parts = { name: 'test', identity: 'test:1', medium: 'test', format, backing };
  const content = Buffer.alloc(runs.length * RUN_BYTES);
  content.fill(2, 0, RUN_BYTES).fill(1, 2 * RUN_BYTES, 3 * RUN_BYTES);
  return { image: new BlockImage(parts), storage, content };
}

describe.each([false, true])('an image of many runs, mapped with promises: %s', (isAsync) => {
  it('reads every range as one', async () => {
    const { image, content } = patchwork(isAsync);
    for (const offset of [0, 1, 999, 1000, 1500, 2999, 3500]) {
      for (const length of [0, 1, 500, 1000, 2500, 4000]) {
        if (offset + length > 4000) continue;
        const buffer = Buffer.alloc(length + 2, 9);
        await image.read(buffer, 1, length, offset);
        const expected = content.subarray(offset, offset + length);
        expect(buffer.subarray(1, length + 1).equals(expected)).toBe(true);
        expect([buffer[0], buffer[length + 1]]).toEqual([9, 9]);
      }
    }
  });

  it('is read-only when its format cannot be written', async () => {
    const { image, storage } = patchwork(isAsync);
    expect(image.isReadOnly).toBe(true);
    const refused = { kind: 'read-only', message: expect.stringContaining('convert it') };
    await expect(image.write(Buffer.alloc(10), 0, 10, 0)).rejects.toMatchObject(refused);
    await expect(image.writeZeroes(0, 10, true)).rejects.toMatchObject(refused);
    await expect(image.discard(0, 10)).rejects.toMatchObject(refused);
    await image.sync();
    expect(storage.requests).toMatchObject({ write: 0, writeZeroes: 0, sync: 1 });
  });

  it('shows the image below through its holes, and zeros behind the end of that', async () => {
    const below = new FaultyStorage(new MemoryStorage(Buffer.alloc(3584, 7)));
    const { image, content } = patchwork(isAsync, rawImage(below, 'base'));
    content.fill(7, 3000, 3584);
    const read = Buffer.alloc(4000, 9);
    await image.read(read, 0, 4000, 0);
    expect(read.equals(content)).toBe(true);
    expect(below.requests.read).toBe(1);
    expect(await image.ownerOf(0, 100)).toEqual({ depth: 0, length: 100 });
    expect(await image.ownerOf(1500, 2000)).toEqual({ depth: 0, length: 500 });
    expect(await image.ownerOf(3100, 900)).toEqual({ depth: 1, length: 484 });
    expect(await image.ownerOf(3584, 416)).toEqual({ depth: 0, length: 416 });
    expect(await image.extent(3100, 900)).toMatchObject({ length: 484, isZero: false, depth: 1 });
    const none = { length: 416, isHole: true, isZero: true, depth: 0, isAllocated: false };
    expect(await image.extent(3584, 416)).toMatchObject(none);
    await image.close();
    await expect(image.read(read, 0, 10, 3000)).rejects.toMatchObject({ kind: 'shutdown' });
  });

  it('tells data, zeros and holes apart', async () => {
    const { image } = patchwork(isAsync);
    const data = { isHole: false, isZero: false, isAllocated: true, isCompressed: false, depth: 0 };
    expect(await image.extent(900, 4)).toEqual({ ...data, length: 4 });
    expect(await image.extent(900, 400)).toEqual({ ...data, length: 100 });
    const zero = { ...data, isHole: true, isZero: true };
    expect(await image.extent(1000, 2000)).toEqual({ ...zero, length: 1000 });
    const hole = { ...zero, isAllocated: false };
    expect(await image.extent(3100, 900)).toEqual({ ...hole, length: 900 });
  });
});

describe('an image', () => {
  it('issues one storage request for one run', async () => {
    const storage = new FaultyStorage(new MemoryStorage(pattern(8192)));
    const image = rawImage(storage, 'test:2');
    await image.read(Buffer.alloc(8192), 0, 8192, 0);
    await image.write(Buffer.alloc(100), 0, 100, 50);
    expect(storage.requests).toMatchObject({ read: 1, write: 1 });
  });

  it('counts requests, bytes and failures of each operation, and keeps the last failure', async () => {
    const storage = new FaultyStorage(new MemoryStorage(pattern(8192)));
    const image = rawImage(storage, 'test:3');
    const buffer = Buffer.alloc(8192);
    storage.failNext('read');
    storage.failNext('write', 'ENOSPC');
    storage.failNext('sync');
    storage.failNext('writeZeroes');
    await expect(image.read(buffer, 0, 100, 0)).rejects.toMatchObject({ kind: 'io' });
    await expect(image.write(buffer, 0, 10, 0)).rejects.toMatchObject({ kind: 'no-space' });
    await expect(image.sync()).rejects.toMatchObject({ kind: 'io' });
    await expect(image.writeZeroes(0, 7, true)).rejects.toMatchObject({ kind: 'io' });
    await image.read(buffer, 0, 200, 0);
    await image.sync();
    await image.discard(0, 4096);
    expect(image.counters).toMatchObject({
      read: { requests: 2, bytes: 300, failures: 1, lastFailure: { kind: 'io' } },
      write: { requests: 1, bytes: 10, failures: 1, lastFailure: { kind: 'no-space' } },
      sync: { requests: 2, bytes: 0, failures: 1, lastFailure: { kind: 'io' } },
      discard: { requests: 1, bytes: 4096, failures: 0 },
      zeroes: { requests: 1, bytes: 7, failures: 1, lastFailure: { kind: 'io' } },
    });
  });

  it('refuses ranges outside itself before its storage sees them', async () => {
    const storage = new FaultyStorage(new MemoryStorage(pattern(8192)));
    const image = rawImage(storage, 'test:4');
    const buffer = Buffer.alloc(8192);
    const invalid = { kind: 'invalid' };
    const ranges = [
      [8192, 1],
      [0, 8193],
      [-1, 10],
      [10, -1],
      [0.5, 1],
      [Number.NaN, 1],
      [Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
    ] as const;
    for (const [offset, length] of ranges) {
      await expect(image.read(buffer, 0, length, offset)).rejects.toMatchObject(invalid);
      await expect(image.write(buffer, 0, length, offset)).rejects.toMatchObject(invalid);
      await expect(image.discard(offset, length)).rejects.toMatchObject(invalid);
      await expect(image.writeZeroes(offset, length, true)).rejects.toMatchObject(invalid);
      await expect(image.extent(offset, length)).rejects.toMatchObject(invalid);
    }
    expect(Object.values(storage.requests).every((count) => count === 0)).toBe(true);
    await image.read(buffer, 0, 0, 8192);
  });

  it('on a read-only storage is read-only', async () => {
    const image = rawImage(new MemoryStorage(pattern(512), { isReadOnly: true }), 'test:5');
    expect(image.isReadOnly).toBe(true);
    const refused = { kind: 'read-only' };
    await expect(image.write(Buffer.alloc(1), 0, 1, 0)).rejects.toMatchObject(refused);
    await expect(image.writeZeroes(0, 1, true)).rejects.toMatchObject(refused);
    await expect(image.discard(0, 1)).rejects.toMatchObject(refused);
    expect(image.counters.write.requests).toBe(0);
  });

  it('answers a short read with a failure', async () => {
    const storage = new FaultyStorage(new MemoryStorage(pattern(8192)));
    storage.shortNext('read');
    const read = rawImage(storage, 'test:6').read(Buffer.alloc(4096), 0, 4096, 0);
    await expect(read).rejects.toMatchObject({ kind: 'io' });
  });
});
