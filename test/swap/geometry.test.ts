import { expect, it } from 'vitest';
import { defaultFileBytes, geometryFor } from '../../src/swap/geometry.ts';
import { fc } from '../tools/seed.ts';

const pageBytes = fc.constantFrom(4096, 8192, 16384, 32768, 65536);
const MIB = 1024 * 1024;

it('has room in a file of the default size for a device full of noise', () => {
  const sizes = fc.integer({ min: 1, max: 1 << 26 }).map((sectors) => sectors * 512);
  fc.assert(
    fc.property(fc.oneof(sizes, fc.constantFrom(MIB, 2 ** 40)), pageBytes, (size, page) => {
      const geometry = geometryFor(defaultFileBytes(size, page), page);
      const record = Math.ceil((page + 12) / geometry.granuleBytes) * geometry.granuleBytes;
      expect(Math.ceil(size / page) * record).toBeLessThanOrEqual(geometry.capacityBytes);
    }),
  );
});

it('is a little more than the device by default', () => {
  for (const size of [1024 * MIB, 8 * 1024 * MIB, 64 * 1024 * MIB]) {
    expect(defaultFileBytes(size, 4096) / size).toBeLessThan(1.1);
  }
});

it('fits the file, and its places fit 32 bits', () => {
  fc.assert(
    fc.property(fc.integer({ min: 32 * MIB, max: 2 ** 41 }), pageBytes, (fileBytes, page) => {
      const geometry = geometryFor(fileBytes, page);
      const { segmentBytes, segmentCount, granulesPerSegment, granuleBytes } = geometry;
      expect(4096 + segmentBytes * segmentCount).toBeLessThanOrEqual(fileBytes);
      expect(segmentCount * granulesPerSegment).toBeLessThanOrEqual(2 ** 32);
      expect(granulesPerSegment * granuleBytes).toBe(segmentBytes);
      expect(segmentBytes).toBeGreaterThanOrEqual(16 * page);
      expect(granuleBytes).toBeLessThanOrEqual(512);
    }),
    { numRuns: 300 },
  );
});

it('refuses a file that is too small, or larger than places can name', () => {
  expect(() => geometryFor(2 ** 20, 4096)).toThrow(/too small; give it at least/);
  expect(() => geometryFor(2 ** 42, 4096)).toThrow(/at most 2TiB; give it less/);
});
