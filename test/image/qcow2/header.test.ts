import { describe, expect, it } from 'vitest';
import { createQcow2 } from '../../../src/image/qcow2/create/create.ts';
import { FIELD } from '../../../src/image/qcow2/structures/layout.ts';
import { MemoryStorage } from '../../storage/memory-storage.ts';
import { KIB, MIB, openOn } from './images.ts';

/** A small image in memory, with some of its bytes changed. */
async function damaged(poke: (bytes: Buffer) => void, settings = {}): Promise<MemoryStorage> {
  const whole = new MemoryStorage(Buffer.alloc(0), { isContainer: true });
  const createFile = () => Promise.reject(new Error('no other file is wanted'));
  await createQcow2(whole, { sizeBytes: 4 * MIB, settings, createFile });
  const bytes = Buffer.alloc(whole.sizeBytes);
  await whole.read(bytes, 0, bytes.length, 0);
  poke(bytes);
  return new MemoryStorage(bytes, { isContainer: true, name: 'bad.qcow2' });
}

const u32 = (field: number, value: number) => (bytes: Buffer) => {
  bytes.writeUInt32BE(value, field);
};
const u64 = (field: number, value: bigint) => (bytes: Buffer) => {
  bytes.writeBigUInt64BE(value, field);
};

describe('a hostile header', () => {
  it.each([
    ['another magic number', 'invalid', u32(0, 1)],
    ['version 1', 'unsupported', u32(FIELD.version, 1)],
    ['version 4', 'unsupported', u32(FIELD.version, 4)],
    ['clusters of 2^8 bytes', 'invalid', u32(FIELD.clusterBits, 8)],
    ['clusters of 2^22 bytes', 'invalid', u32(FIELD.clusterBits, 22)],
    ['clusters of 2^32 bytes and more', 'invalid', u32(FIELD.clusterBits, 0xffff_ffff)],
    ['a disk of 2^63 bytes', 'unsupported', u64(FIELD.sizeBytes, 1n << 63n)],
    ['an L1 table at 2^62', 'invalid', u64(FIELD.l1Offset, 1n << 62n)],
    ['a disk that its L1 table cannot describe', 'invalid', u64(FIELD.sizeBytes, 1n << 40n)],
    ['an L1 table of 2^32 entries', 'invalid', u32(FIELD.l1Entries, 0xffff_ffff)],
    ['an L1 table of 32 MiB and an entry', 'invalid', u32(FIELD.l1Entries, 4 * MIB + 1)],
    ['an L1 table inside a cluster', 'invalid', u64(FIELD.l1Offset, 512n)],
    [
      'an L1 table at the end of everything',
      'invalid',
      u64(FIELD.l1Offset, ~0n & 0xffffffffffff0000n),
    ],
    ['no L1 table', 'invalid', u64(FIELD.l1Offset, 0n)],
    ['a refcount table inside a cluster', 'invalid', u64(FIELD.refcountTableOffset, 8n)],
    ['a refcount table of 16 MiB', 'invalid', u32(FIELD.refcountTableClusters, 256)],
    ['no refcount table', 'invalid', u32(FIELD.refcountTableClusters, 0)],
    ['65537 snapshots', 'invalid', u32(FIELD.snapshotCount, 65_537)],
    ['refcounts of 128 bits', 'invalid', u32(FIELD.refcountOrder, 7)],
    ['a header of 96 bytes', 'invalid', u32(FIELD.headerBytes, 96)],
    ['a header of 105 bytes', 'invalid', u32(FIELD.headerBytes, 105)],
    ['a header larger than a cluster', 'invalid', u32(FIELD.headerBytes, 0x7fff_fff8)],
    ['an unknown cipher', 'unsupported', u32(FIELD.crypt, 3)],
    ['a compression type without its bit', 'invalid', (bytes) => bytes.writeUInt8(1, 104)],
    ['an extension of 2 GiB', 'invalid', u32(116, 0x8000_0000)],
    [
      'a backing name behind the first cluster',
      'invalid',
      (bytes) => {
        u64(FIELD.backingNameOffset, 65_530n)(bytes);
        u32(FIELD.backingNameBytes, 100)(bytes);
      },
    ],
    [
      'a backing name of 1 KiB',
      'invalid',
      (bytes) => {
        u64(FIELD.backingNameOffset, 1024n)(bytes);
        u32(FIELD.backingNameBytes, KIB)(bytes);
      },
    ],
  ] as [string, string, (bytes: Buffer) => void][])(
    'with %s is refused in one sentence',
    async (_name, kind, poke) => {
      const opening = openOn(await damaged(poke), { isReadOnly: true });
      await expect(opening).rejects.toMatchObject({ name: 'TmemError', kind });
      await expect(opening).rejects.toThrow(/^[^\n]*"bad\.qcow2"[^\n]*; [^\n.]+$/);
    },
  );

  it('with a disk that is too large is refused by what to do about the disk', async () => {
    const storage = await damaged(u64(FIELD.sizeBytes, 9n << 50n), { cluster_size: '2M' });
    const opening = openOn(storage, { isReadOnly: true });
    await expect(opening).rejects.toThrow(
      /by offset 24, the image has a disk of more than 8191TiB; make its disk smaller/,
    );
  });

  it.each([0, 4, 71, 72, 103, 110])('cut off after %i bytes is refused', async (length) => {
    const whole = await damaged(() => {});
    const bytes = Buffer.alloc(length);
    await whole.read(bytes, 0, length, 0);
    const opening = openOn(new MemoryStorage(bytes), { isReadOnly: true });
    await expect(opening).rejects.toMatchObject({ kind: 'invalid' });
  });
});

describe('a hostile table', () => {
  const withEntry = (entry: bigint, settings = {}) =>
    damaged((bytes) => {
      const l1 = Number(bytes.readBigUInt64BE(FIELD.l1Offset));
      const table = BigInt(bytes.length);
      bytes.writeBigUInt64BE(table, l1);
    }, settings).then(async (storage) => {
      const slice = Buffer.alloc(64 * KIB);
      slice.writeBigUInt64BE(entry, 0);
      await storage.write(slice, 0, slice.length, storage.sizeBytes);
      return storage;
    });

  it.each([
    ['inside a cluster', (1n << 63n) | 0x10200n],
    ['at 2^55', (1n << 63n) | (1n << 55n)],
    ['compressed, at 2^54', (1n << 62n) | ((1n << 54n) - 1n)],
  ])('whose cluster is %s fails reads of that cluster alone', async (_name, entry) => {
    const image = await openOn(await withEntry(entry), { isReadOnly: true });
    const buffer = Buffer.alloc(512, 1);
    await expect(image.read(buffer, 0, 512, 0)).rejects.toMatchObject({ kind: 'io' });
    await image.read(buffer, 0, 512, 64 * KIB);
    expect(buffer.equals(Buffer.alloc(512))).toBe(true);
    await image.close();
  });

  it('that sends data of the guest into a table is not written, and marked as corrupt', async () => {
    const storage = await withEntry((1n << 63n) | 0x10000n);
    const image = await openOn(storage);
    const write = () => image.write(Buffer.alloc(512, 1), 0, 512, 0);
    await expect(write()).rejects.toMatchObject({ kind: 'io' });
    await expect(image.write(Buffer.alloc(512), 0, 512, 2 * MIB)).rejects.toThrow(/takes no more/);
    const header = Buffer.alloc(112);
    await storage.read(header, 0, 112, 0);
    expect(header.readBigUInt64BE(FIELD.incompatible)).toBe(2n);
  });
});
