import { describe, expect, it } from 'vitest';
import { BlockImage } from '../../../src/image/image.ts';
import { rawImage } from '../../../src/image/raw.ts';
import { TmemError } from '../../../src/lib/errors.ts';
import { pattern } from '../../storage/contract.ts';
import { FaultyStorage } from '../../storage/faulty-storage.ts';
import { MemoryStorage } from '../../storage/memory-storage.ts';
import { ToyFormat } from '../toy-format.ts';

const UNIT = 4096;

/** An image over another, of which the sector at `bad` cannot be read. */
function overBadSector(bad: number) {
  const below = new FaultyStorage(new MemoryStorage(pattern(4 * UNIT)));
  below.onRead = (offset, length) => {
    if (offset < bad + 512 && offset + length > bad) throw new TmemError('io', 'a bad sector');
  };
  const storage = new FaultyStorage(new MemoryStorage(Buffer.alloc(0), { isContainer: true }));
  const size = { sizeBytes: 4 * UNIT, unitBytes: UNIT };
  const format = new ToyFormat({ storage, ...size, hasBacking: true });
  const backing = rawImage(below, 'base');
  const image = new BlockImage({ name: 'toy', identity: 'toy', medium: 'toy', format, backing });
  return { image, below };
}

describe('a write into a part of a new unit', () => {
  it('is one read of what is around it', async () => {
    const { image, below } = overBadSector(2 * UNIT);
    await image.write(Buffer.alloc(1024, 9), 0, 1024, UNIT + 1024);
    expect(below.requests.read).toBe(1);
  });

  it('mends a sector that cannot be read, when it writes all of it', async () => {
    const { image } = overBadSector(UNIT + 1024);
    await image.write(Buffer.alloc(1024, 9), 0, 1024, UNIT + 1024);
    const content = pattern(4 * UNIT);
    content.fill(9, UNIT + 1024, UNIT + 2048);
    const bytes = Buffer.alloc(4 * UNIT);
    await image.read(bytes, 0, bytes.length, 0);
    expect(bytes.equals(content)).toBe(true);
  });

  it('fails where what is around it cannot be read', async () => {
    const { image } = overBadSector(UNIT + 3072);
    const write = image.write(Buffer.alloc(1024, 9), 0, 1024, UNIT + 1024);
    await expect(write).rejects.toThrow('a bad sector');
    const bytes = Buffer.alloc(1024);
    await image.read(bytes, 0, 1024, UNIT + 1024);
    expect(bytes.equals(pattern(4 * UNIT).subarray(UNIT + 1024, UNIT + 2048))).toBe(true);
  });
});
