import { describe, expect, it } from 'vitest';
import { checkQcow2 } from '../../../src/image/qcow2/check/check.ts';
import { EXTENSION } from '../../../src/image/qcow2/structures/layout.ts';
import { openFileStorage } from '../../../src/storage/file.ts';
import { needsPrograms, runWell } from '../../tools/programs.ts';
import { makeWithKeySlot, PASSPHRASE, SECRET } from '../../tools/qemu-luks.ts';
import { workspace } from '../../tools/workspace.ts';
import {
  CLUSTER,
  COPIED,
  damaged,
  expectUnchanged,
  extensionAt,
  type Places,
  damage as spoil,
} from './damaged-tables.ts';
import { create, expectClean, MIB, openAt } from './images.ts';

async function expectNoChange(image: string, message: RegExp, passphrase?: string) {
  const disk = await openAt(image, passphrase === undefined ? {} : { passphrase });
  const bytes = Buffer.alloc(CLUSTER, 3);
  await expect(disk.write(bytes, 0, CLUSTER, MIB)).rejects.toThrow(message);
  await expect(disk.discard(0, CLUSTER)).rejects.toThrow(/takes no more changes/);
  await disk.close();
  expectUnchanged(image);
}

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
    await expectNoChange(image, message);
  });

  it('is read, and not changed: an L2 table and the LUKS header', async () => {
    const image = `${workspace()}/disk.qcow2`;
    const luks = ['encrypt.format=luks', 'encrypt.key-secret=key', 'encrypt.iter-time=10'];
    const format = ['-f', 'qcow2', '-o', luks.join(',')];
    await makeWithKeySlot(['create', '-q', ...SECRET, ...format, image, '4M']);
    spoil(image, (bytes, { l1 }) => {
      const header = bytes.readBigUInt64BE(extensionAt(bytes, EXTENSION.encryption));
      bytes.writeBigUInt64BE(header | COPIED, l1);
    });
    await expectNoChange(image, /an L2 table is said to be where another table is/, PASSPHRASE);
  });

  it('is read, and not changed: an L2 table and the directory of bitmaps', async () => {
    const image = await create(`${workspace()}/disk.qcow2`, 4 * MIB);
    await runWell('qemu-img', ['bitmap', '--add', image, 'backup']);
    spoil(image, (bytes, { l1 }) => {
      const directory = bytes.readBigUInt64BE(extensionAt(bytes, EXTENSION.bitmaps) + 16);
      bytes.writeBigUInt64BE(directory | COPIED, l1);
    });
    await expectNoChange(image, /an L2 table is said to be where another table is/);
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
