import { expect, it } from 'vitest';
import { qedDriver } from '../../../src/image/qed/driver.ts';
import { FEATURE, readQedHeader } from '../../../src/image/qed/header.ts';
import {
  bytesOf,
  checkOf,
  containerOf,
  contentOf,
  createOn,
  emptyContainer,
  openOn,
} from '../appended/images.ts';

const CLUSTER = 4096;

it('a QED file cut within its last cluster keeps what is left of that when another is written', async () => {
  const container = emptyContainer();
  const settings = { cluster_size: `${CLUSTER}`, table_size: '2' };
  await createOn(qedDriver, container, 8 * CLUSTER, settings);
  const made = await openOn(qedDriver, container);
  const content = Buffer.alloc(8 * CLUSTER);
  content.fill(1, 0, CLUSTER).fill(2, CLUSTER, 2 * CLUSTER);
  await made.write(content, 0, 2 * CLUSTER, 0);
  await made.close();
  const bytes = await bytesOf(container);
  const cut = containerOf(bytes.subarray(0, bytes.length - 512));
  const image = await openOn(qedDriver, cut);
  content.fill(0, 2 * CLUSTER - 512, 2 * CLUSTER).fill(3, 4 * CLUSTER, 5 * CLUSTER);
  await image.write(content, 4 * CLUSTER, CLUSTER, 4 * CLUSTER);
  expect((await contentOf(image)).equals(content)).toBe(true);
  await image.close();
  expect(await checkOf(qedDriver, cut)).toMatchObject({ corruptions: 0, leaks: 0, errors: 0 });
});

it('a QED file that was not closed well, cut within its last cluster, keeps what is left of that', async () => {
  const container = emptyContainer();
  await createOn(qedDriver, container, 8 * CLUSTER, {
    cluster_size: `${CLUSTER}`,
    table_size: '1',
  });
  const made = await openOn(qedDriver, container);
  const content = Buffer.alloc(8 * CLUSTER).fill(1, 0, CLUSTER);
  await made.write(content, 0, CLUSTER, 0);
  await made.close();
  const bytes = await bytesOf(container);
  bytes.writeUInt32LE(FEATURE.needCheck, 16);
  const cut = containerOf(bytes.subarray(0, bytes.length - 512));
  const image = await openOn(qedDriver, cut);
  content.fill(0, CLUSTER - 512, CLUSTER);
  expect((await contentOf(image)).equals(content)).toBe(true);
  await image.close();
  expect(await checkOf(qedDriver, cut)).toMatchObject({ corruptions: 0, leaks: 0, errors: 0 });
});

it('a write that is refused for a lost end sets no mark, which would have the loss mended unasked', async () => {
  const container = emptyContainer();
  await createOn(qedDriver, container, 8 * CLUSTER, {
    cluster_size: `${CLUSTER}`,
    table_size: '1',
  });
  const made = await openOn(qedDriver, container);
  await made.write(Buffer.alloc(CLUSTER, 1), 0, CLUSTER, 0);
  await made.close();
  const bytes = await bytesOf(container);
  const cut = containerOf(bytes.subarray(0, bytes.length - CLUSTER));
  const image = await openOn(qedDriver, cut);
  await expect(image.write(Buffer.alloc(512), 0, 512, CLUSTER)).rejects.toThrow('damaged');
  expect((await readQedHeader(cut)).features).toBe(0);
  await image.close();
});
