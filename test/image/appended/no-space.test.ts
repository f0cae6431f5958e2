import { join } from 'node:path';
import { expect, it } from 'vitest';
import { openImage } from '../../../src/image/open.ts';
import { qcowDriver } from '../../../src/image/qcow/driver.ts';
import { qedDriver } from '../../../src/image/qed/driver.ts';
import { TmemError } from '../../../src/lib/errors.ts';
import { withFileSizeLimit } from '../../tools/file-size-limit.ts';
import { needsPrograms, runProgram, runWell } from '../../tools/programs.ts';
import { MIB, workspace } from '../../tools/workspace.ts';
import { BLOCK_BYTES, SmallDisk } from '../small-disk.ts';
import { bytesOf, checkOf, containerOf, createOn, openOn } from './images.ts';

needsPrograms('qemu-img', 'prlimit');

it.each([
  ['qed', 8192 * MIB, 4096 * MIB],
  ['qcow', 64 * MIB, 16 * MIB],
])('a %s file whose write failed halfway is sound afterwards', async (formatName, size, later) => {
  const file = join(workspace(), `disk.${formatName}`);
  await runWell('qemu-img', ['create', '-q', '-f', formatName, file, `${size}`]);
  const image = await openImage(file, { isReadOnly: false });
  const page = Buffer.alloc(4096, 1);
  await image.write(page, 0, page.length, 0);
  await image.sync();
  const failed = withFileSizeLimit(MIB, () =>
    image.write(Buffer.alloc(2 * MIB, 0x5a), 0, 2 * MIB, MIB),
  );
  await expect(failed).rejects.toMatchObject({ kind: 'no-space' });
  // A table of its own, or a unit with zeros around the page, where that write has left its bytes.
  await image.write(page, 0, page.length, later);
  await image.close();
  if (formatName === 'qed') {
    // The unit of the write that failed may be lost, and nothing else.
    const { code, stdout } = await runProgram('qemu-img', ['check', '-f', 'qed', file]);
    expect([0, 3], stdout).toContain(code);
  }
  const again = await openImage(file, { isReadOnly: true });
  const read = Buffer.alloc(65_536);
  await again.read(read, 0, read.length, later);
  await again.close();
  expect(read.equals(Buffer.concat([page, Buffer.alloc(65_536 - 4096)]))).toBe(true);
});

/** The first of two units that are written at once finds no space, when all of it is written. */
class FullOnce extends SmallDisk {
  hasFailed = true;

  override async write(buffer: Buffer, at: number, length: number, offset: number): Promise<void> {
    if (!this.hasFailed && length === BLOCK_BYTES) {
      this.hasFailed = true;
      await super.write(buffer, at, length, offset);
      throw new TmemError('no-space', 'the disk is full; make room');
    }
    await super.write(buffer, at, length, offset);
  }
}

it.each([
  ['qed', qedDriver, { cluster_size: '4096', table_size: '4' }],
  ['qcow', qcowDriver, {}],
])(
  'a %s gives space that a failed write has left to the next one',
  async (name, driver, settings) => {
    const disk = new FullOnce(`disk.${name}`);
    await createOn(driver, disk, 16 * MIB, settings);
    const image = await openOn(driver, disk);
    const page = Buffer.alloc(BLOCK_BYTES, 1);
    await image.write(page, 0, page.length, 0); // makes the table
    disk.hasFailed = false;
    // Not side by side: each takes a unit of its own.
    const writes = [1, 3].map((unit) => image.write(page, 0, page.length, unit * BLOCK_BYTES));
    const outcomes = await Promise.allSettled(writes);
    expect(outcomes.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    await image.write(page, 0, page.length, 5 * BLOCK_BYTES);
    await image.close();
    expect(await checkOf(driver, disk)).toMatchObject({ corruptions: 0, leaks: 0 });
  },
);

/** The power goes at the next sync, before which nothing of a unit of nines has reached the disk. */
class PowerCut extends FullOnce {
  isNear = false;

  override async write(buffer: Buffer, at: number, length: number, offset: number): Promise<void> {
    if (this.isNear && buffer[at] === 9) return;
    await super.write(buffer, at, length, offset);
  }

  override async sync(): Promise<void> {
    if (this.isNear) throw new TmemError('io', 'the power is gone');
    await super.sync();
  }
}

it('after a crash no unit of a qed shows what a write that failed has left in its space', async () => {
  const disk = new PowerCut('disk.qed');
  await createOn(qedDriver, disk, 16 * MIB, { cluster_size: '4096', table_size: '4' });
  const image = await openOn(qedDriver, disk);
  const write = (unit: number, byte: number) =>
    image.write(Buffer.alloc(BLOCK_BYTES, byte), 0, BLOCK_BYTES, unit * BLOCK_BYTES);
  await write(0, 1);
  await image.sync();
  disk.hasFailed = false;
  await Promise.allSettled([write(1, 7), write(3, 7)]);
  disk.isNear = true;
  await write(5, 9);
  await expect(image.sync()).rejects.toThrow('the power is gone');
  const later = await openOn(qedDriver, containerOf(await bytesOf(disk)));
  const read = Buffer.alloc(BLOCK_BYTES, 1);
  await later.read(read, 0, read.length, 5 * BLOCK_BYTES);
  expect(read.equals(Buffer.alloc(BLOCK_BYTES))).toBe(true);
  await later.close();
  disk.isNear = false;
  await write(5, 9);
  await image.close();
  expect(await checkOf(qedDriver, disk)).toMatchObject({ corruptions: 0, leaks: 0 });
});
