import { describe, expect, it } from 'vitest';
import type { BlockImage } from '../../../src/image/image.ts';
import { qcowDriver } from '../../../src/image/qcow/driver.ts';
import { qedDriver } from '../../../src/image/qed/driver.ts';
import { pattern } from '../../storage/contract.ts';
import {
  BASE,
  bytesOf,
  containerOf,
  contentOf,
  createOn,
  emptyContainer,
  FaultyContainer,
  openOn,
} from './images.ts';

const UNIT = 4096;
const SIZE = 16 * UNIT;
const qed = { driver: qedDriver, settings: { cluster_size: `${UNIT}`, table_size: '2' } };
const qcow = { driver: qcowDriver, settings: { cluster_size: `${UNIT}` } };

describe('what a flush was asked for is in the file when it is answered', () => {
  it.each([
    {
      ...{ ...qed, what: 'zeros, which a write follows', unit: Buffer.alloc(UNIT) },
      change: (image: BlockImage, unit: Buffer) => image.writeZeroes(UNIT, unit.length, true),
    },
    {
      ...{ ...qcow, what: 'a compressed unit, which a write follows', unit: Buffer.alloc(UNIT, 5) },
      change: (image: BlockImage, unit: Buffer) => image.writeCompressed(UNIT, unit),
    },
  ])('$driver.formatName: $what', async ({ driver, settings, unit, change }) => {
    const base = pattern(SIZE);
    const container = emptyContainer();
    await createOn(driver, container, SIZE, settings, { backing: BASE });
    const storage = new FaultyContainer(container);
    const image = await openOn(driver, storage, base);
    await image.write(base, 0, UNIT, 0);
    await image.sync(); // the table is there
    await change(image, unit);
    const sync = storage.holdNext('sync');
    const flushed = image.sync();
    await sync.arrived;
    await image.write(Buffer.alloc(512, 9), 0, 512, UNIT);
    sync.release();
    await flushed;
    const left = await openOn(driver, containerOf(await bytesOf(container)), base);
    const content = await contentOf(left);
    expect(content.subarray(UNIT, 2 * UNIT).equals(unit)).toBe(true);
    await image.close();
    const closed = await contentOf(
      await openOn(driver, containerOf(await bytesOf(container)), base),
    );
    expect(closed.subarray(UNIT, UNIT + 512).equals(Buffer.alloc(512, 9))).toBe(true);
    expect(closed.subarray(UNIT + 512, 2 * UNIT).equals(unit.subarray(512))).toBe(true);
  });
});
