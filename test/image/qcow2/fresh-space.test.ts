import { describe, expect, it } from 'vitest';
import { gatedImage } from './gated.ts';
import { KIB, MIB, openOn } from './images.ts';

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
});
