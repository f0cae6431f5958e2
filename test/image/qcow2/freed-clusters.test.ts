import { readFileSync } from 'node:fs';
import { expect, it, vi } from 'vitest';
import { TmemError } from '../../../src/lib/errors.ts';
import { openFileStorage } from '../../../src/storage/file.ts';
import { needsPrograms, runProgram } from '../../tools/programs.ts';
import { workspace } from '../../tools/workspace.ts';
import { CLUSTER, placesIn } from './damaged-tables.ts';
import { create, openOn, qemuIo } from './images.ts';

needsPrograms('qemu-img', 'qemu-io');

it('space whose count cannot be read for a moment is leaked, and the image goes on', async () => {
  const image = await create(`${workspace()}/disk.qcow2`, 64 * CLUSTER);
  await qemuIo(image, `write -P 1 0 ${4 * CLUSTER}`);
  const { refcountBlock } = placesIn(readFileSync(image));
  const storage = await openFileStorage(image, { isReadOnly: false, isContainer: true });
  const disk = await openOn(storage);
  const read = storage.read.bind(storage);
  const failed: number[] = [];
  const reading = vi.spyOn(storage, 'read').mockImplementation(async (...request) => {
    const [, , , offset] = request;
    if (offset < refcountBlock || offset >= refcountBlock + CLUSTER) return read(...request);
    failed.push(offset);
    throw new TmemError('io', 'cannot read: injected by a test; expect it');
  });
  await disk.discard(CLUSTER, CLUSTER);
  await disk.sync();
  expect(failed).toHaveLength(1);
  reading.mockRestore();
  await disk.discard(2 * CLUSTER, CLUSTER);
  await disk.write(Buffer.alloc(CLUSTER, 3), 0, CLUSTER, 9 * CLUSTER);
  await disk.close();
  // The first cluster is leaked, which is exit code 3; no other is.
  const check = await runProgram('qemu-img', ['check', '--output=json', '-f', 'qcow2', image]);
  expect(check.code).toBe(3);
  expect(JSON.parse(check.stdout)).toMatchObject({ leaks: 1, 'check-errors': 0 });
});
