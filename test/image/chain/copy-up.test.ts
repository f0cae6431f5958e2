import { describe, expect, it } from 'vitest';
import { BlockImage } from '../../../src/image/image.ts';
import { rawImage } from '../../../src/image/raw.ts';
import { pattern } from '../../storage/contract.ts';
import { FaultyStorage } from '../../storage/faulty-storage.ts';
import { MemoryStorage } from '../../storage/memory-storage.ts';
import { ToyFormat } from '../toy-format.ts';

const UNIT = 2048;
const SIZE = 20 * UNIT;
const BASE = 15 * UNIT + 512;

/** Without memory for tables there is one slot of scratch. */
function overlay(tableBytesMax?: number) {
  const below = new FaultyStorage(new MemoryStorage(pattern(BASE)));
  const storage = new FaultyStorage(new MemoryStorage(Buffer.alloc(0), { isContainer: true }));
  const format = new ToyFormat({ storage, sizeBytes: SIZE, unitBytes: UNIT, hasBacking: true });
  const drops = { count: 0 };
  const dropping = Object.assign(format, {
    dropBacking: async () => {
      drops.count++;
    },
  });
  const parts = { name: 'toy', identity: 'toy', medium: 'toy', format: dropping, tableBytesMax };
  const image = new BlockImage({ ...parts, backing: rawImage(below, 'base') });
  const content = Buffer.alloc(SIZE);
  pattern(BASE).copy(content);
  return { image, below, storage, content, drops };
}

async function contentOf(image: BlockImage): Promise<Buffer> {
  const bytes = Buffer.alloc(SIZE);
  await image.read(bytes, 0, SIZE, 0);
  return bytes;
}

describe('copying up', () => {
  it('brings what shows through into the image, which then needs no base', async () => {
    const { image, below, content, drops } = overlay();
    await image.write(Buffer.alloc(100, 3), 0, 100, 5000);
    content.fill(3, 5000, 5100);
    await image.writeZeroes(8 * UNIT, UNIT, true);
    content.fill(0, 8 * UNIT, 9 * UNIT);
    // Two units are there already; half of the base's last unit is behind the end of the base.
    expect(await image.copyUp(0, SIZE)).toBe(BASE - 2 * UNIT);
    expect(await image.copyUp(0, SIZE)).toBe(0);
    await image.dropBacking();
    expect([image.backing, drops.count]).toEqual([undefined, 1]);
    await expect(below.read(Buffer.alloc(1), 0, 1, 0)).rejects.toMatchObject({ kind: 'shutdown' });
    expect((await contentOf(image)).equals(content)).toBe(true);
    expect(await image.ownerOf(0, SIZE)).toMatchObject({ depth: 0 });
  });

  it('leaves what reads as zeros below as it is', async () => {
    const { image, below, storage, content } = overlay();
    await below.inner.write(Buffer.alloc(4 * UNIT), 0, 4 * UNIT, UNIT);
    content.fill(0, UNIT, 5 * UNIT);
    expect(await image.copyUp(0, SIZE)).toBe(BASE - 4 * UNIT);
    expect(storage.requests.write).toBe(12);
    expect((await contentOf(image)).equals(content)).toBe(true);
  });

  it('never overwrites what is written meanwhile', async () => {
    const { image, below, content } = overlay();
    const hold = below.holdNext('read');
    const copy = image.copyUp(0, 4 * UNIT);
    await hold.arrived;
    const bytes = Buffer.alloc(4 * UNIT - 20, 9);
    const write = image.write(bytes, 0, bytes.length, 10);
    hold.release();
    await Promise.all([copy, write]);
    bytes.copy(content, 10);
    expect((await contentOf(image)).equals(content)).toBe(true);
  });

  it('waits for a write that waits for memory, and not the other way round', async () => {
    const { image, below, content } = overlay(0);
    const hold = below.holdNext('read');
    const copy = image.copyUp(0, 4 * UNIT);
    await hold.arrived;
    // It holds its units, which the copy wants next, and must be filled up with what is below.
    const write = image.write(Buffer.alloc(3 * UNIT, 9), 0, 3 * UNIT, 10);
    hold.release();
    await Promise.all([copy, write]);
    content.fill(9, 10, 10 + 3 * UNIT);
    expect((await contentOf(image)).equals(content)).toBe(true);
  });

  it('has memory of its own, which counts as long as the image is open', async () => {
    const { image } = overlay(128 * 1024);
    // Twice a half for units, a half for pieces, and one for copies.
    expect(image.memoryBytesWith(1)).toBe(4 * 64 * 1024);
    await image.dropBacking();
    expect(image.memoryBytesWith(1)).toBe(4 * 64 * 1024);
  });

  it('that fails leaves the image as it was, and can be done again', async () => {
    const { image, below, storage, content } = overlay();
    below.failNext('read');
    await expect(image.copyUp(0, SIZE)).rejects.toMatchObject({ kind: 'io' });
    storage.failNext('write', 'ENOSPC');
    await expect(image.copyUp(0, SIZE)).rejects.toMatchObject({ kind: 'no-space' });
    await image.copyUp(0, SIZE);
    await image.dropBacking();
    expect((await contentOf(image)).equals(content)).toBe(true);
  });

  it('lets go of the base only when nobody reads it any more', async () => {
    const { image, below, content } = overlay();
    const hold = below.holdNext('read');
    const byte = Buffer.alloc(1);
    const read = image.read(byte, 0, 1, 700);
    await hold.arrived;
    await image.copyUp(0, SIZE);
    const dropped = image.dropBacking();
    hold.release();
    await Promise.all([read, dropped]);
    expect(byte[0]).toBe(content[700]);
  });
});
