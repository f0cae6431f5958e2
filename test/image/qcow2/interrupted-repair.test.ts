import { readFileSync, writeFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { qcow2Driver } from '../../../src/image/qcow2/driver.ts';
import { FIELD } from '../../../src/image/qcow2/structures/layout.ts';
import { needsPrograms, runWell } from '../../tools/programs.ts';
import { workspace } from '../../tools/workspace.ts';
import { bytesOf, checkOf, containerOf, FaultyContainer } from '../appended/images.ts';
import { create, expectClean, MIB, qemuIo } from './images.ts';

needsPrograms('qemu-img', 'qemu-io');

it('a repair of leaks that ended between counts and flags is done by the next one', async () => {
  const file = await create(`${workspace()}/disk.qcow2`, MIB);
  await qemuIo(file, 'write -q -P 1 0 256k');
  await runWell('qemu-img', ['snapshot', '-c', 'first', file]);
  // As when the snapshot was being deleted: it is out of the table, and still counted.
  const leaky = readFileSync(file);
  leaky.writeUInt32BE(0, FIELD.snapshotCount);
  const storage = new FaultyContainer(containerOf(leaky));
  storage.onSync = () => storage.failNext('write');
  await expect(checkOf(qcow2Driver, storage, 'leaks')).rejects.toThrow('injected');
  storage.onSync = undefined;
  expect(await checkOf(qcow2Driver, storage)).toMatchObject({ leaks: 0 });
  const report = await checkOf(qcow2Driver, storage, 'leaks');
  expect(report).toMatchObject({ corruptions: 0, leaks: 0 });
  writeFileSync(file, await bytesOf(storage));
  await expectClean(file);
});
