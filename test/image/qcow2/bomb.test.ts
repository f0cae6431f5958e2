import { deflateRawSync } from 'node:zlib';
import { expect, it, onTestFinished, vi } from 'vitest';
import { checkQcow2 } from '../../../src/image/qcow2/check/check.ts';
import { ClusterCounts } from '../../../src/image/qcow2/check/cluster-counts.ts';
import { FIELD } from '../../../src/image/qcow2/structures/layout.ts';
import { MemoryStorage } from '../../storage/memory-storage.ts';
import { KIB, MIB, openOn } from './images.ts';

const CLUSTER = 64 * KIB;
const TABLE_ENTRIES = CLUSTER / 8;
/** Every entry of the L1 table is the one L2 table, every entry of that the one cluster. */
const L1_ENTRIES = 4096;
const SIZE = L1_ENTRIES * TABLE_ENTRIES * CLUSTER;

function bomb(inflatedBytes = CLUSTER): Buffer {
  const blob = deflateRawSync(Buffer.alloc(inflatedBytes, 'boom'));
  const [l1, l2, data] = [CLUSTER, 2 * CLUSTER, 3 * CLUSTER];
  const bytes = Buffer.alloc(4 * CLUSTER);
  bytes.write('QFI\xfb', 0, 'latin1');
  bytes.writeUInt32BE(3, FIELD.version);
  bytes.writeUInt32BE(16, FIELD.clusterBits);
  bytes.writeBigUInt64BE(BigInt(SIZE), FIELD.sizeBytes);
  bytes.writeUInt32BE(L1_ENTRIES, FIELD.l1Entries);
  bytes.writeBigUInt64BE(BigInt(l1), FIELD.l1Offset);
  bytes.writeBigUInt64BE(BigInt(l2), 48); // the refcount table, which a reader leaves alone
  bytes.writeUInt32BE(1, 56);
  bytes.writeUInt32BE(4, 96);
  bytes.writeUInt32BE(104, 100);
  for (let i = 0; i < L1_ENTRIES; i++) bytes.writeBigUInt64BE(BigInt(l2), l1 + 8 * i);
  const sectors = BigInt(Math.floor((blob.length - 1) / 512));
  const entry = (1n << 62n) | (sectors << 54n) | BigInt(data);
  for (let i = 0; i < TABLE_ENTRIES; i++) bytes.writeBigUInt64BE(entry, l2 + 8 * i);
  blob.copy(bytes, data);
  return bytes;
}

it('an image of 2 TiB in 256 KiB costs each read what it reads, and no more memory', async () => {
  const storage = new MemoryStorage(bomb(), { isContainer: true });
  const image = await openOn(storage, { isReadOnly: true, tableBytesMax: 64 * KIB });
  let readCount = 0;
  const read = storage.read.bind(storage);
  storage.read = (...range) => {
    readCount++;
    return read(...range);
  };
  const buffer = Buffer.alloc(MIB);
  for (let place = 0; place < 64; place++) {
    const offset = Math.floor((SIZE / 64) * place);
    await image.read(buffer, 0, MIB, offset);
    expect(buffer.subarray(0, 8).toString()).toBe('boomboom');
  }
  // A slice of the table and the clusters of each read; nothing grows with the size of the disk.
  expect(readCount).toBeLessThanOrEqual(64 * (1 + MIB / CLUSTER));
  expect(image.tables?.bytes).toBeLessThanOrEqual(64 * KIB);
  expect(await image.extent(0, MIB)).toMatchObject({ isCompressed: true });
  await image.close();
});

it.each([
  [CLUSTER + 1, /with deflate, more than 65536 bytes came out; restore it from a copy$/],
  [CLUSTER - 1, /with deflate, 65535 bytes came out, not 65536; restore it from a copy$/],
])('a cluster of %i bytes is refused in words of ours', async (inflatedBytes, sentence) => {
  const storage = new MemoryStorage(bomb(inflatedBytes), { isContainer: true });
  const image = await openOn(storage, { isReadOnly: true });
  await expect(image.read(Buffer.alloc(512), 0, 512, 0)).rejects.toThrow(sentence);
  await image.close();
});

/** Of clusters of 512 bytes; a thousand snapshots name the same L1 table, which is half of the file. */
function manySnapshots(): Buffer {
  const count = 1000;
  const bytes = Buffer.alloc(MIB);
  const [l1, snapshots, snapshotL1] = [512, 4096, MIB / 2];
  bytes.write('QFI\xfb', 0, 'latin1');
  bytes.writeUInt32BE(3, FIELD.version);
  bytes.writeUInt32BE(9, FIELD.clusterBits);
  bytes.writeBigUInt64BE(32n * 1024n, FIELD.sizeBytes);
  bytes.writeUInt32BE(1, FIELD.l1Entries);
  bytes.writeBigUInt64BE(BigInt(l1), FIELD.l1Offset);
  bytes.writeBigUInt64BE(1024n, FIELD.refcountTableOffset);
  bytes.writeUInt32BE(1, 56);
  bytes.writeUInt32BE(count, 60);
  bytes.writeBigUInt64BE(BigInt(snapshots), FIELD.snapshotsOffset);
  bytes.writeUInt32BE(4, 96);
  bytes.writeUInt32BE(104, 100);
  // An entry that a repair mends.
  bytes.writeBigUInt64BE((1n << 60n) | 2048n, l1);
  for (let at = snapshots; at < snapshots + count * 56; at += 56) {
    bytes.writeBigUInt64BE(BigInt(snapshotL1), at);
    bytes.writeUInt32BE((MIB - snapshotL1) / 8, at + 8);
    bytes.writeUInt32BE(16, at + 36);
  }
  return bytes;
}

it('a table that a thousand snapshots name is counted, read and mended as often as it fits', async () => {
  const storage = new MemoryStorage(manySnapshots(), { isContainer: true });
  const add = vi.spyOn(ClusterCounts.prototype, 'add');
  const read = vi.spyOn(storage, 'read');
  onTestFinished(() => add.mockRestore());
  const openFile = () => Promise.reject(new Error('a check opens no other file'));
  const report = await checkQcow2(storage, { repair: 'all', openFile });
  expect(report.corruptions).toBeGreaterThan(0);
  // At most once for each pass: before, after the tables, and at the end.
  expect(add.mock.calls.length).toBeLessThan((3 * MIB) / 512);
  expect(read.mock.calls.length).toBeLessThan(200);
});
