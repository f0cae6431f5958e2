import { writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { runWell } from '../../tools/programs.ts';
import { workspace } from '../../tools/workspace.ts';
import { gatedImage } from './gated.ts';
import {
  contentByQemu,
  contentOf,
  create,
  expectClean,
  expectSame,
  KIB,
  MIB,
  openAt,
  openOn,
  qemuIo,
  rawAt,
} from './images.ts';

const CLUSTER = 4 * KIB;
const SECTOR = 512;
/** One block of counts counts so many clusters, as wide as counts can be. */
const COUNTED = (CLUSTER * 8) / 64;

describe('zeros around a write of qcow2', () => {
  it('are not written into space that was never in use, behind new counts too', async () => {
    const storage = await gatedImage(64 * MIB, { cluster_size: `${CLUSTER}`, refcount_bits: '64' });
    const image = await openOn(storage);
    const sector = Buffer.alloc(SECTOR, 1);
    for (let cluster = 0; cluster < 4 * COUNTED; cluster++) {
      // New blocks of counts are written far behind what is in use.
      if (cluster % 100 === 0) await image.sync();
      storage.writes = [];
      await image.write(sector, 0, SECTOR, cluster * CLUSTER + 3 * SECTOR);
      const data = storage.writes.filter(({ offset }) => offset % CLUSTER === 3 * SECTOR);
      expect(
        data.map(({ length }) => length),
        `cluster ${cluster}`,
      ).toEqual([SECTOR]);
    }
    await image.close();
  });

  it('are written into space that was given back', async () => {
    const storage = await gatedImage(4 * MIB, { cluster_size: `${CLUSTER}` });
    const image = await openOn(storage);
    const full = Buffer.alloc(8 * CLUSTER, 1);
    await image.write(full, 0, full.length, 0);
    await image.sync();
    await image.writeZeroes(0, full.length, true);
    await image.sync();
    storage.writes = [];
    const read = Buffer.alloc(CLUSTER);
    for (let cluster = 8; cluster < 16; cluster++) {
      await image.write(full, 0, SECTOR, cluster * CLUSTER + SECTOR);
      await image.read(read, 0, CLUSTER, cluster * CLUSTER);
      expect(read.subarray(0, SECTOR)).toEqual(Buffer.alloc(SECTOR));
      expect(read.subarray(SECTOR, 2 * SECTOR)).toEqual(Buffer.alloc(SECTOR, 1));
      expect(read.subarray(2 * SECTOR)).toEqual(Buffer.alloc(CLUSTER - 2 * SECTOR));
    }
    expect(storage.writes.map(({ length }) => length)).toContain(CLUSTER);
    await image.close();
  });

  it.each(['head', 'tail'])(
    'do not stand for the other subclusters of a shared cluster (%s)',
    async (end) => {
      const directory = workspace();
      const base = `${directory}/base.raw`;
      writeFileSync(base, Buffer.alloc(MIB, 7));
      const settings = { extended_l2: 'on', cluster_size: '64k' };
      const below = ['-b', base, '-F', 'raw'];
      const image = await create(`${directory}/disk.qcow2`, MIB, settings, below);
      // Data and zeros at both ends of a cluster, holes and zeros in the middle; then not its own any more.
      await qemuIo(image, 'write -P 1 0 4k', 'write -z 4k 36k', 'write -P 2 60k 4k');
      await runWell('qemu-img', ['snapshot', '-c', 'first', image]);
      const expected = await contentByQemu(image, directory);
      const at = end === 'head' ? 32 * KIB : 4 * KIB;
      const disk = await openAt(image, { backing: () => rawAt(base) });
      await disk.write(Buffer.alloc(4 * KIB, 3), 0, 4 * KIB, at);
      expected.fill(3, at, at + 4 * KIB);
      expectSame(await contentOf(disk), expected);
      await disk.close();
      expectSame(await contentByQemu(image, directory), expected);
      await expectClean(image);
    },
  );
});
