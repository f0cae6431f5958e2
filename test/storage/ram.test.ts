import { expect, test } from 'vitest';
import { RamStorage } from '../../src/storage/ram.ts';
import { fc } from '../tools/seed.ts';

const SLAB = 64 * 1024;

test('a RAM disk reads as what was written, zeroed and discarded last', async () => {
  const size = 4 * SLAB + 512;
  const range = fc.tuple(fc.nat(size), fc.nat(2 * SLAB)).map(([offset, length]) => {
    return { offset, length: Math.min(length, size - offset) };
  });
  const step = fc.record({
    range,
    action: fc.constantFrom('write', 'zero', 'discard'),
    seed: fc.integer({ min: 1, max: 255 }),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
      const disk = new RamStorage('ram:test', size);
      const model = Buffer.alloc(size);
      for (const {
        range: { offset, length },
        action,
        seed,
      } of steps) {
        if (action === 'write') {
          const bytes = Buffer.alloc(length + 3, seed);
          await disk.write(bytes, 3, length, offset);
          bytes.copy(model, offset, 3);
        } else {
          await (action === 'zero'
            ? disk.writeZeroes(offset, length)
            : disk.discard(offset, length));
          model.fill(0, offset, offset + length);
        }
      }
      const seen = Buffer.alloc(size, 7);
      await disk.read(seen, 0, size, 0);
      expect(seen.equals(model)).toBe(true);
      for (let at = 0; at < size; ) {
        const { length, isHole } = await disk.extent(at, size - at);
        expect(length).toBeGreaterThan(0);
        if (isHole) expect(model.subarray(at, at + length).every((byte) => byte === 0)).toBe(true);
        at += length;
      }
    }),
    { numRuns: 60 },
  );
});

test('a RAM disk takes memory for what is written, and returns it when all of a slab is trimmed', async () => {
  const disk = new RamStorage('ram:test', 1024 * SLAB);
  await disk.write(Buffer.alloc(4096, 1), 0, 4096, 10 * SLAB);
  await disk.write(Buffer.alloc(4096, 1), 0, 4096, 10 * SLAB + 8192);
  await disk.write(Buffer.alloc(SLAB, 1), 0, SLAB, 20 * SLAB);
  expect(disk.usedBytes).toBe(2 * SLAB);
  await disk.discard(20 * SLAB, SLAB);
  await disk.discard(10 * SLAB, 4096);
  expect(disk.usedBytes).toBe(SLAB);
  await disk.discard(10 * SLAB + 8192, 4096);
  expect(disk.usedBytes).toBe(0);
});

test('a RAM disk that is closed takes no more requests', async () => {
  const disk = new RamStorage('ram:test', SLAB);
  await disk.close();
  await expect(disk.read(Buffer.alloc(1), 0, 1, 0)).rejects.toThrow('"ram:test" is closed');
});
