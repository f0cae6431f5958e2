import { expect, it } from 'vitest';
import { qcowDriver } from '../../../src/image/qcow/driver.ts';
import { pattern } from '../../storage/contract.ts';
import { fc } from '../../tools/seed.ts';
import { expectSame, roundsOf, runRounds } from '../appended/image-model.ts';
import {
  BASE,
  bytesOf,
  checkOf,
  containerOf,
  contentOf,
  createOn,
  emptyContainer,
  FaultyContainer,
  openOn,
  unevenly,
} from '../appended/images.ts';

const UNIT = 4096;
/** More than one table, each of 512 clusters of 4 KiB, and no whole number of clusters. */
const SIZE = 513 * UNIT + 512 * 3;

// With a backing file and clusters of 4 KiB qemu loses what is around a partial write: no oracle.
it.each([
  { name: 'without a backing file', baseBytes: 0, cluster: '4096' },
  {
    name: 'with large clusters over a backing file',
    baseBytes: 300 * UNIT + 1000,
    cluster: '4096',
  },
  { name: 'with clusters of a sector over a longer one', baseBytes: SIZE + UNIT, cluster: '512' },
])('a qcow image $name holds what was written through requests at once', async (kind) => {
  await fc.assert(
    fc.asyncProperty(roundsOf(SIZE, UNIT), fc.nat(15), async (rounds, seed) => {
      const container = emptyContainer();
      const base = kind.baseBytes === 0 ? undefined : pattern(kind.baseBytes);
      const settings = { cluster_size: kind.cluster };
      await createOn(qcowDriver, container, SIZE, settings, base ? { backing: BASE } : {});
      const image = await openOn(qcowDriver, unevenly(container, seed), base);
      const content = Buffer.alloc(SIZE);
      base?.copy(content);
      await runRounds(image, content, rounds);
      expectSame(await contentOf(image), content);
      await image.sync();
      const report = await checkOf(qcowDriver, container);
      expect(report).toMatchObject({ corruptions: 0, leaks: 0, errors: 0 });
      // What another opens is what was written.
      const bytes = await bytesOf(container);
      await image.close();
      expectSame(
        await contentOf(await openOn(qcowDriver, containerOf(bytes, true), base)),
        content,
      );
    }),
    { numRuns: 8 },
  );
});

it('compressed clusters are read, packed, and written over', async () => {
  const container = emptyContainer();
  await createOn(qcowDriver, container, 40 * UNIT + 512);
  const image = await openOn(qcowDriver, container);
  const content = pattern(image.virtualSizeBytes);
  for (let at = 0; at < content.length; at += UNIT) {
    const unit = Buffer.alloc(UNIT);
    if (at % (3 * UNIT) !== 0) content.fill(at / UNIT, at, Math.min(at + UNIT, content.length)); // the others do not compress
    content.copy(unit, 0, at);
    await image.writeCompressed(at, unit);
  }
  expectSame(await contentOf(image), content);
  await image.write(Buffer.alloc(1000, 9), 0, 1000, 2 * UNIT - 500);
  content.fill(9, 2 * UNIT - 500, 2 * UNIT + 500);
  await image.writeZeroes(4 * UNIT, 2 * UNIT, true);
  content.fill(0, 4 * UNIT, 6 * UNIT);
  expectSame(await contentOf(image), content);
  await image.sync();
  const report = await checkOf(qcowDriver, container);
  expect(report).toMatchObject({ corruptions: 0, errors: 0 });
  expect(report.compressedUnits).toBeGreaterThan(20);
  await image.close();
});

it('a compressed cluster that could not be written leaves no space unused', async () => {
  const container = emptyContainer();
  await createOn(qcowDriver, container, 40 * UNIT);
  const storage = new FaultyContainer(container);
  const image = await openOn(qcowDriver, storage);
  const unit = Buffer.alloc(UNIT, 7);
  await image.writeCompressed(0, unit);
  await image.sync();
  const end = container.sizeBytes;
  for (let i = 0; i < 40; i++) {
    storage.failNext('write', 'ENOSPC');
    await expect(image.writeCompressed(UNIT, pattern(UNIT))).rejects.toThrow('ENOSPC');
    storage.failNext('write', 'ENOSPC');
    await expect(image.writeCompressed(UNIT, unit)).rejects.toThrow('ENOSPC');
  }
  await image.writeCompressed(UNIT, unit);
  await image.close();
  expect(container.sizeBytes).toBeLessThan(end + 100);
});
