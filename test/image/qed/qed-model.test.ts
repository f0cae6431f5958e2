import { expect, it } from 'vitest';
import { qedDriver } from '../../../src/image/qed/driver.ts';
import { pattern } from '../../storage/contract.ts';
import { fc } from '../../tools/seed.ts';
import { expectSame, roundsOf, runRounds } from '../appended/image-model.ts';
import {
  BASE,
  checkOf,
  contentOf,
  createOn,
  emptyContainer,
  openOn,
  unevenly,
} from '../appended/images.ts';

const UNIT = 4096;
/** More than one table, each of 512 clusters, and no whole number of clusters. */
const SIZE = 513 * UNIT + 512 * 3;

it.each([
  { name: 'without a backing file', baseBytes: 0 },
  { name: 'over a shorter backing file', baseBytes: 300 * UNIT + 1000 },
  { name: 'over a longer backing file', baseBytes: SIZE + UNIT },
])('a QED image $name holds what was written through requests at once', async ({ baseBytes }) => {
  await fc.assert(
    fc.asyncProperty(roundsOf(SIZE, UNIT), fc.nat(15), async (rounds, seed) => {
      const container = emptyContainer();
      const settings = { cluster_size: '4096', table_size: '1' };
      const base = baseBytes === 0 ? undefined : pattern(baseBytes);
      await createOn(qedDriver, container, SIZE, settings, base ? { backing: BASE } : {});
      const storage = unevenly(container, seed);
      const image = await openOn(qedDriver, storage, base);
      const content = Buffer.alloc(SIZE);
      base?.copy(content);
      await runRounds(image, content, rounds);
      expectSame(await contentOf(image), content);
      await image.sync();
      const report = await checkOf(qedDriver, container);
      expect(report).toMatchObject({ corruptions: 0, leaks: 0, errors: 0 });
      await image.close();
    }),
    { numRuns: 10 },
  );
});
