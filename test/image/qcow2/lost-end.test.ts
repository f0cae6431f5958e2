import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { qcow2Driver } from '../../../src/image/qcow2/driver.ts';
import { needsPrograms } from '../../tools/programs.ts';
import { workspace } from '../../tools/workspace.ts';
import { checkOf, containerOf } from '../appended/images.ts';
import { contentOf, create, expectSame, KIB, MIB, openOn, qemuIo } from './images.ts';

needsPrograms('qemu-img', 'qemu-io');

const CLUSTER = 4 * KIB;
const SIZE = 16 * MIB;
/** What one table describes, and what one block counts. */
const COVERAGE = 2 * MIB;

/** The file of a disk that is half full, whose tables are all before what was cut off. */
async function cutFile(): Promise<Buffer> {
  const settings = { cluster_size: CLUSTER, refcount_bits: 64 };
  const file = await create(`${workspace()}/disk.qcow2`, SIZE, settings);
  const tables = Array.from({ length: SIZE / COVERAGE }, (_, index) => index * COVERAGE);
  await qemuIo(file, ...tables.map((at) => `write -q -P 1 ${at} ${CLUSTER}`));
  await qemuIo(file, `write -q -P 2 ${CLUSTER} ${SIZE / 2 - CLUSTER}`);
  return readFileSync(file).subarray(0, 5 * MIB);
}

it.each([undefined, 'all'] as const)(
  'what is written to an image that has lost counts with its end comes to light nowhere else (repair: %s)',
  async (repair) => {
    const storage = containerOf(await cutFile());
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
