import { expect, test } from 'vitest';
import { cowDriver } from '../../../src/image/cow/driver.ts';
import { BlockImage } from '../../../src/image/image.ts';
import { rawImage } from '../../../src/image/raw.ts';
import { MemoryStorage } from '../../storage/memory-storage.ts';
import { fc } from '../../tools/seed.ts';
import { SmallDisk } from '../small-disk.ts';
import { createOn, openOn, SIZE, STAMP } from './images.ts';

test('an image on a base reads as the base with what was written, zeroed and discarded over it', async () => {
  const range = fc.tuple(fc.nat(SIZE), fc.nat(20_000)).map(([offset, length]) => {
    return { offset, length: Math.min(length, SIZE - offset) };
  });
  const action = fc.constantFrom('write', 'zero', 'punch', 'sync', 'reopen');
  const step = fc.record({ range, action, seed: fc.integer({ min: 1, max: 255 }) });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
      const file = await createOn({ block_size: '4096' });
      let disk = await openOn(file);
      const model = Buffer.alloc(SIZE, 0xba);
      for (const { range, action, seed } of steps) {
        const { offset, length } = range;
        if (action === 'write') {
          await disk.write(Buffer.alloc(length, seed), 0, length, offset);
          model.fill(seed, offset, offset + length);
        } else if (action === 'zero' || action === 'punch') {
          await disk.writeZeroes(offset, length, action === 'punch');
          model.fill(0, offset, offset + length);
        } else {
          await disk.sync();
          if (action === 'reopen') disk = await openOn(file);
        }
      }
      const seen = Buffer.alloc(SIZE);
      await disk.read(seen, 0, SIZE, 0);
      expect(seen.equals(model)).toBe(true);
    }),
    { numRuns: 60 },
  );
});

test('writes into one block at the same time leave each what it wrote', async () => {
  const file = await createOn({ block_size: '65536' });
  const disk = await openOn(file);
  const model = Buffer.alloc(SIZE, 0xba);
  const writes: Promise<void>[] = [];
  for (let i = 0; i < 64; i++) {
    const offset = i * 1536;
    model.fill(i + 1, offset, offset + 700);
    writes.push(disk.write(Buffer.alloc(700, i + 1), 0, 700, offset));
  }
  await Promise.all(writes);
  const seen = Buffer.alloc(SIZE);
  await disk.read(seen, 0, SIZE, 0);
  expect(seen.equals(model)).toBe(true);
});

test('what is discarded does not bring the base back', async () => {
  const disk = await openOn(await createOn({ block_size: '4096' }));
  await disk.write(Buffer.alloc(8192, 1), 0, 8192, 4096);
  await disk.discard(4096, 8192);
  const seen = Buffer.alloc(8192);
  await disk.read(seen, 0, 8192, 4096);
  expect(seen.includes(0xba)).toBe(false);
});

test('a sync that fails writes no bit, and the next one does', async () => {
  const file = await createOn({ block_size: '4096' });
  let failures = 1;
  file.sync = async () => {
    if (failures-- > 0) throw new Error('no sync now');
  };
  const disk = await openOn(file);
  await disk.write(Buffer.alloc(4096, 7), 0, 4096, 0);
  await expect(disk.sync()).rejects.toThrow('no sync now');
  expect(await firstByte(file)).toBe(0xba);
  await disk.sync();
  expect(await firstByte(file)).toBe(7);
});

async function firstByte(file: MemoryStorage): Promise<number | undefined> {
  const seen = Buffer.alloc(1);
  await (await openOn(file)).read(seen, 0, 1, 0);
  return seen[0];
}

test('on a full disk a write fails, and not the FLUSH of what was acknowledged', async () => {
  const BLOCKS = 3 * 32_768;
  for (let left = 0; left < 6; left++) {
    const file = await createOn({ block_size: '512' }, new SmallDisk('overlay.cow'), BLOCKS * 512);
    file.leaveBlocks(left);
    const disk = await openOn(file);
    const written: number[] = [];
    // Their bits lie far apart.
    for (const block of [0, 40_000, BLOCKS - 1, 80]) {
      const write = disk.write(Buffer.alloc(512, 7), 0, 512, block * 512);
      await write.then(
        () => written.push(block),
        (cause: unknown) => expect(cause).toMatchObject({ kind: 'no-space' }),
      );
    }
    await expect(disk.writeZeroes(50_000 * 512, 512, false)).rejects.toMatchObject({
      kind: 'no-space',
    });
    await disk.sync();
    const again = await openOn(file);
    const seen = Buffer.alloc(1);
    for (const block of written) {
      await again.read(seen, 0, 1, block * 512);
      expect(seen[0]).toBe(7);
    }
    expect(written.length).toBe(left >> 1);
  }
});

test('zeros that must be fast and are not so on the disk are refused', async () => {
  const file = await createOn({ block_size: '4096' });
  const fast: boolean[] = [];
  const disk = await openOn(file);
  await disk.write(Buffer.alloc(4096, 1), 0, 4096, 0);
  file.writeZeroes = async (_offset, _length, _mayDiscard, mustBeFast = false) => {
    fast.push(mustBeFast);
  };
  await disk.writeZeroes(0, 4096, true, true);
  await disk.writeZeroes(0, 4096, true);
  expect(fast).toEqual([true, false]);
});

test('the check finds a file that is too short', async () => {
  const openFile = () => Promise.reject(new Error('nothing to open'));
  const file = await createOn({});
  expect(await cowDriver.check?.(file, { openFile })).toMatchObject({ corruptions: 0, leaks: 0 });
  await file.resize(file.sizeBytes - 512);
  expect(await cowDriver.check?.(file, { openFile })).toMatchObject({ corruptions: 1 });
});

test('without a base what was never written reads as zeros', async () => {
  const file = new MemoryStorage(Buffer.alloc(0));
  const options = { sizeBytes: SIZE, settings: {}, createFile: () => Promise.reject(new Error()) };
  await cowDriver.create?.(file, options);
  const { format, backing } = await cowDriver.open(file, {
    isReadOnly: false,
    tableBytesMax: 1 << 20,
    openFile: () => Promise.reject(new Error()),
  });
  expect(backing).toBeUndefined();
  const image = new BlockImage({ name: 'x', identity: 'x', medium: 'x', format });
  const seen = Buffer.alloc(512, 1);
  await image.read(seen, 0, 512, SIZE - 512);
  expect(seen.equals(Buffer.alloc(512))).toBe(true);
  expect(rawImage(file, 'raw').virtualSizeBytes).toBeGreaterThan(SIZE);
  expect(STAMP.sizeBytes).toBe(SIZE);
});
