import { expect, it } from 'vitest';
import { qcowDriver } from '../../../src/image/qcow/driver.ts';
import { qedDriver } from '../../../src/image/qed/driver.ts';
import { bytesOf, checkOf, containerOf, createOn, emptyContainer, openOn } from './images.ts';

const UNIT = 4096;

const CASES = [
  { driver: qedDriver, settings: { cluster_size: '4096', table_size: '1' }, l1: 4096 },
  { driver: qcowDriver, settings: { cluster_size: '4096' }, l1: 48 },
];

/** The second table, and the data that it names, are the last things of the file. */
async function withLostTable({ driver, settings, l1 }: (typeof CASES)[number]): Promise<Buffer> {
  const container = emptyContainer();
  await createOn(driver, container, 1100 * UNIT, settings);
  const image = await openOn(driver, container);
  await image.write(Buffer.alloc(UNIT, 1), 0, UNIT, 0);
  await image.write(Buffer.alloc(8 * UNIT, 2), 0, 8 * UNIT, 600 * UNIT);
  await image.close();
  const bytes = await bytesOf(container);
  bytes.fill(0x10, l1 + 8, l1 + 16);
  return bytes;
}

it.each(CASES)(
  'repairing a $driver.formatName image keeps what a lost table may name',
  async (each) => {
    const bytes = await withLostTable(each);
    const container = containerOf(bytes);
    const report = await checkOf(each.driver, container, 'all');
    expect(report).toMatchObject({ corruptions: 0, corruptionsFixed: 1, leaks: 9, leaksFixed: 0 });
    expect((await bytesOf(container)).subarray(3 * UNIT)).toEqual(bytes.subarray(3 * UNIT));
    // Who asks for it once more gets it.
    expect(await checkOf(each.driver, container, 'leaks')).toMatchObject({ leaksFixed: 9 });
  },
);

it('a QED image that was not closed well is not mended unasked where it has lost a table', async () => {
  const bytes = await withLostTable(CASES[0] ?? expect.fail());
  bytes.writeUInt32LE(2, 16);
  const container = containerOf(bytes);
  await expect(openOn(qedDriver, container)).rejects.toThrow(
    /first-level entry 1 puts a table at .*, where none can be; check the image/,
  );
  expect((await bytesOf(container)).equals(bytes)).toBe(true);
  await checkOf(qedDriver, container, 'all');
  await (await openOn(qedDriver, container)).close();
});
