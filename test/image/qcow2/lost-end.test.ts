import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { qcow2Driver } from '../../../src/image/qcow2/driver.ts';
import { FIELD } from '../../../src/image/qcow2/structures/layout.ts';
import { needsPrograms } from '../../tools/programs.ts';
import { workspace } from '../../tools/workspace.ts';
import { checkOf, containerOf } from '../appended/images.ts';
import { contentOf, create, expectSame, KIB, MIB, openOn, qemuIo } from './images.ts';

needsPrograms('qemu-img', 'qemu-io');

const CLUSTER = 512;
const SIZE = 4 * MIB;
const LENGTH = 2.5 * MIB;
/** What one table describes, and what one block counts. */
const COVERAGE = 32 * KIB;

/** The file of a disk that is more than half full, and whose tables lie before its data. */
async function wholeFile(): Promise<Buffer> {
  const settings = { cluster_size: CLUSTER, refcount_bits: 64 };
  const file = await create(`${workspace()}/disk.qcow2`, SIZE, settings);
  const tables = Array.from({ length: SIZE / COVERAGE }, (_, index) => index * COVERAGE);
  await qemuIo(file, ...tables.map((at) => `write -q -P 1 ${at} ${CLUSTER}`));
  await qemuIo(file, `write -q -P 2 ${CLUSTER} ${LENGTH - CLUSTER}`);
  // More than the space of the tables that became too small: data are last, and no block of counts.
  await qemuIo(file, `write -q -P 2 ${LENGTH} ${200 * CLUSTER}`);
  return readFileSync(file);
}

function refcountTableOf(file: Buffer): number {
  return Number(file.readBigUInt64BE(FIELD.refcountTableOffset));
}

function lastBlockOf(file: Buffer): number {
  let last = 0;
  for (let at = refcountTableOf(file); last === 0 || file.readBigUInt64BE(at) !== 0n; at += 8) {
    last = Number(file.readBigUInt64BE(at));
  }
  return last;
}

const CUTS = {
  'before some blocks of counts': (file: Buffer) => refcountTableOf(file) + 2 * CLUSTER,
  'in the last block of counts': (file: Buffer) => lastBlockOf(file) + CLUSTER / 4,
  'in the table of counts': (file: Buffer) => refcountTableOf(file) + CLUSTER,
};

it.each(
  Object.entries(CUTS).flatMap(([where, cut]) =>
    ([undefined, 'all'] as const).map((repair) => ({ where, cut, repair })),
  ),
)(
  'what is written to an image that was cut off $where comes to light nowhere else (repair: $repair)',
  async ({ cut, repair }) => {
    const file = await wholeFile();
    const storage = containerOf(file.subarray(0, cut(file)));
    const { corruptions } = await checkOf(qcow2Driver, storage, repair);
    expect(corruptions).toBeGreaterThan(0);
    const image = await openOn(storage);
    const content = await contentOf(image);
    const data = Buffer.alloc(CLUSTER, 3);
    for (let at = SIZE - COVERAGE / 2; at < SIZE; at += CLUSTER) {
      await expect(image.write(data, 0, CLUSTER, at)).rejects.toMatchObject({ kind: 'io' });
    }
    expectSame(await contentOf(image), content);
    await image.close();
  },
);

it('an image whose last block of counts is not all there, and that has lost nothing else, is mended', async () => {
  const file = await wholeFile();
  const block = lastBlockOf(file);
  const moved = Buffer.concat([file, file.subarray(block, block + CLUSTER / 2)]);
  const table = refcountTableOf(file);
  const entry = table + 8 * Math.floor(block / COVERAGE);
  expect(Number(moved.readBigUInt64BE(entry))).toBe(block);
  moved.writeBigUInt64BE(BigInt(file.length), entry);
  const storage = containerOf(moved);
  expect((await checkOf(qcow2Driver, storage, 'all')).corruptions).toBe(0);
  const image = await openOn(storage);
  await image.write(Buffer.alloc(CLUSTER, 3), 0, CLUSTER, SIZE - CLUSTER);
  await image.close();
  expect(await checkOf(qcow2Driver, storage)).toMatchObject({ corruptions: 0, leaks: 0 });
});
