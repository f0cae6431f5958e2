import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { qcow2Driver } from '../../../src/image/qcow2/driver.ts';
import { TmemError } from '../../../src/lib/errors.ts';
import { needsPrograms, runWell } from '../../tools/programs.ts';
import { workspace } from '../../tools/workspace.ts';
import {
  checkOf,
  containerOf,
  createOn,
  emptyContainer,
  FaultyContainer,
} from '../appended/images.ts';
import { create, KIB, MIB, openOn, qemuIo } from './images.ts';

const CLUSTER = 64 * KIB;
const SLICE = 4 * KIB;
/** What is described by one slice of a table, and by one table. */
const SLICE_COVERAGE = 32 * MIB;
const COVERAGE = 512 * MIB;

it('a write whose table cannot be read when its data are there leaks nothing', async () => {
  const storage = new FaultyContainer(emptyContainer());
  await createOn(qcow2Driver, storage, COVERAGE);
  const image = await openOn(storage, { tableBytesMax: 2 * SLICE });
  const data = Buffer.alloc(CLUSTER, 1);
  await image.write(data, 0, CLUSTER, 0);
  await image.sync();
  const held = storage.holdNext('write');
  const writing = image.write(data, 0, CLUSTER, CLUSTER);
  await held.arrived;
  for (let at = SLICE_COVERAGE; at < COVERAGE; at += SLICE_COVERAGE) {
    await image.read(data, 0, CLUSTER, at);
  }
  await new Promise((resolve) => setImmediate(resolve)); // what was evicted is gone by now
  storage.failNext('read');
  held.release();
  await expect(writing).rejects.toThrow('injected');
  await image.close();
  expect(await checkOf(qcow2Driver, storage)).toMatchObject({ corruptions: 0, leaks: 0 });
});

it('bitmaps that cannot be stored on a full disk leak nothing', async () => {
  needsPrograms('qemu-img', 'qemu-io');
  const file = await create(`${workspace()}/disk.qcow2`, 8 * MIB);
  await qemuIo(file, `write -q -P 1 0 ${CLUSTER}`);
  await runWell('qemu-img', ['bitmap', '--add', file, 'kept']);
  const storage = new FaultyContainer(containerOf(readFileSync(file)));
  const image = await openOn(storage);
  await image.write(Buffer.alloc(CLUSTER, 2), 0, CLUSTER, 0);
  storage.onWrite = (_offset, length) => {
    if (length === CLUSTER) throw new TmemError('no-space', 'the disk is full; make room');
  };
  await image.close();
  storage.onWrite = undefined;
  // A count behind the end of the file tells when that is farther on.
  const again = await openOn(storage);
  await again.write(Buffer.alloc(MIB, 3), 0, MIB, MIB);
  await again.close();
  expect(await checkOf(qcow2Driver, storage)).toMatchObject({ corruptions: 0, leaks: 0 });
});
