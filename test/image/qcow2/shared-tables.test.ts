import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { checkQcow2 } from '../../../src/image/qcow2/check.ts';
import { FIELD } from '../../../src/image/qcow2/layout.ts';
import { openFileStorage } from '../../../src/storage/file.ts';
import { needsPrograms, runWell } from '../../tools/programs.ts';
import { workspace } from '../../tools/workspace.ts';
import { create, expectClean, KIB, MIB, openAt, qemuIo } from './images.ts';

const COPIED = 1n << 63n;
const OFFSET = (1n << 56n) - 512n;

/** Where the tables of a small image with a snapshot are. */
function placesIn(bytes: Buffer) {
  const at = (offset: number) => Number(bytes.readBigUInt64BE(offset) & OFFSET);
  const l1 = at(FIELD.l1Offset);
  const refcountTable = at(FIELD.refcountTableOffset);
  const snapshots = at(FIELD.snapshotsOffset);
  const refcountBlock = at(refcountTable);
  return { l1, l2: at(l1), refcountTable, refcountBlock, snapshots, snapshotL1: at(snapshots) };
}

type Places = ReturnType<typeof placesIn>;

async function damaged(directory: string, damage: (bytes: Buffer, places: Places) => void) {
  const image = await create(`${directory}/disk.qcow2`, 4 * MIB);
  await qemuIo(image, 'write -P 1 0 128k');
  await runWell('qemu-img', ['snapshot', '-c', 'first', image]);
  await qemuIo(image, 'write -P 2 0 64k');
  const bytes = readFileSync(image);
  damage(bytes, placesIn(bytes));
  writeFileSync(image, bytes);
  copyFileSync(image, `${image}.before`);
  return image;
}

/** The file as it was, but for the features, where the image is marked as corrupt. */
function expectUnchanged(image: string): void {
  const before = readFileSync(`${image}.before`);
  const after = readFileSync(image);
  before.writeBigUInt64BE(before.readBigUInt64BE(FIELD.incompatible) | 2n, FIELD.incompatible);
  expect(after.subarray(0, before.length).equals(before)).toBe(true);
}

const CLUSTER = 64 * KIB;

describe('an image of which two tables share a cluster', () => {
  needsPrograms('qemu-img', 'qemu-io');

  it.each<[string, (bytes: Buffer, places: Places) => void, RegExp]>([
    [
      'an L2 table and a refcount block',
      (bytes, { l1, refcountBlock }) => bytes.writeBigUInt64BE(BigInt(refcountBlock) | COPIED, l1),
      /an L2 table is said to be where another table is/,
    ],
    [
      'an L2 table and the L1 table',
      (bytes, { l1 }) => bytes.writeBigUInt64BE(BigInt(l1) | COPIED, l1),
      /an L2 table is said to be where another table is/,
    ],
    [
      'a refcount block and the refcount table',
      (bytes, { refcountTable }) => bytes.writeBigUInt64BE(BigInt(refcountTable), refcountTable),
      /a refcount block is said to be where another table is/,
    ],
    [
      "a snapshot's L1 table and the L1 table",
      (bytes, { snapshots, l1 }) => bytes.writeBigUInt64BE(BigInt(l1), snapshots),
      /a snapshot's L1 table is said to be where another table is/,
    ],
  ])('is read, and not changed: %s', async (_name, damage, message) => {
    const image = await damaged(workspace(), damage);
    const disk = await openAt(image);
    const bytes = Buffer.alloc(CLUSTER, 3);
    await expect(disk.write(bytes, 0, CLUSTER, MIB)).rejects.toThrow(message);
    await expect(disk.discard(0, CLUSTER)).rejects.toThrow(/takes no more changes/);
    await disk.close();
    expectUnchanged(image);
  });

  it('is changed when it has been repaired, where a change begins with a copy', async () => {
    const image = await damaged(workspace(), (bytes, { l1 }) => {
      bytes.writeBigUInt64BE(BigInt(l1) | COPIED, l1);
    });
    const disk = await openAt(image);
    await expect(disk.discard(0, CLUSTER)).rejects.toThrow(/repair it with "tmem image repair"/);
    await disk.close();
    const storage = await openFileStorage(image, { isReadOnly: false, isContainer: true });
    const openFile = () => Promise.reject(new Error('it names none'));
    const report = await checkQcow2(storage, { repair: 'all', openFile });
    expect(report).toMatchObject({ corruptions: 0 });
    await storage.close();
    const repaired = await openAt(image);
    await repaired.write(Buffer.alloc(CLUSTER, 3), 0, CLUSTER, MIB);
    await repaired.close();
    await expectClean(image);
  });

  it.each<[string, (bytes: Buffer, places: Places) => void]>([
    [
      'named as data',
      (bytes, { l2, snapshotL1 }) => {
        bytes.writeBigUInt64BE(BigInt(snapshotL1) | COPIED, l2 + 5 * 8);
      },
    ],
    [
      'counted as free',
      (bytes, { refcountBlock, snapshotL1 }) => {
        bytes.writeUInt16BE(0, refcountBlock + (2 * snapshotL1) / CLUSTER);
      },
    ],
  ])("is not written over where a snapshot's L1 table is %s", async (_name, damage) => {
    const image = await damaged(workspace(), damage);
    const disk = await openAt(image);
    const bytes = Buffer.alloc(CLUSTER, 3);
    await expect(disk.write(bytes, 0, CLUSTER, 5 * CLUSTER)).rejects.toThrow(/is damaged/);
    await disk.close();
    expectUnchanged(image);
  });
});
