import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { TmemError } from '../../../src/lib/errors.ts';
import { needsPrograms, runWell } from '../../tools/programs.ts';
import { workspace } from '../../tools/workspace.ts';
import { containerOf, FaultyContainer } from '../appended/images.ts';
import { gateOf } from './gated.ts';
import { create, expectSame, KIB, MIB, openOn, qemuIo } from './images.ts';

const CLUSTER = 64 * KIB;
const SLICE = 4 * KIB;
/** What one L2 table is for. */
const COVERAGE = 512 * MIB;
const OFFSET = (1n << 56n) - 1n;

/** A disk of two L2 tables that a snapshot shares, and where the first of them is. */
async function makeShared() {
  const file = await create(`${workspace()}/disk.qcow2`, 2 * COVERAGE);
  await qemuIo(file, 'write -q -P 1 0 64k', 'write -q -P 1 512M 64k');
  await runWell('qemu-img', ['snapshot', '-c', 'before', file]);
  const bytes = readFileSync(file);
  const l1 = Number(bytes.readBigUInt64BE(40));
  const table = Number(bytes.readBigUInt64BE(l1) & OFFSET);
  return { storage: new FaultyContainer(containerOf(bytes)), table };
}

describe('the copy of an L2 table that cannot be read to its end', () => {
  needsPrograms('qemu-img', 'qemu-io');

  it('writes nothing late to space that others have by then', async () => {
    const { storage, table } = await makeShared();
    const image = await openOn(storage);
    const write = (byte: number, at: number) => {
      return image.write(Buffer.alloc(CLUSTER, byte), 0, CLUSTER, at);
    };
    await write(2, COVERAGE);
    await image.sync();

    const reached = gateOf();
    const broken = gateOf();
    storage.onRead = async (offset) => {
      if (offset !== table + 2 * SLICE) return;
      reached.open();
      await broken.opened;
      throw new TmemError('io', 'a bad sector');
    };
    const copying = write(3, CLUSTER);
    await reached.opened;

    // A FLUSH comes meanwhile, and the disk takes its time with what it writes of tables.
    const slow = gateOf();
    storage.onWrite = async (_offset, length) => {
      if (length === 2 * SLICE) await slow.opened;
    };
    const flushing = image.sync();
    for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
    broken.open();
    await expect(copying).rejects.toThrow('a bad sector');
    storage.failNext('write');
    await expect(write(4, COVERAGE + 4 * CLUSTER)).rejects.toThrow('injected');
    for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
    for (let at = 1; at < 4; at++) await write(4 + at, COVERAGE + at * CLUSTER);
    slow.open();
    await flushing;

    const read = Buffer.alloc(CLUSTER);
    for (let at = 1; at < 4; at++) {
      await image.read(read, 0, CLUSTER, COVERAGE + at * CLUSTER);
      expectSame(read, Buffer.alloc(CLUSTER, 4 + at), `cluster ${at}`);
    }
    await image.close();
  });
});
