import { expect, it } from 'vitest';
import { createQcow2 } from '../../../src/image/qcow2/create/create.ts';
import { readHeader } from '../../../src/image/qcow2/structures/header.ts';
import { readSnapshots } from '../../../src/image/qcow2/structures/snapshot-table.ts';
import { emptyContainer } from '../appended/images.ts';

/** An entry of the table with an id and a name of those lengths. */
function entryOf(idBytes: number, nameBytes: number): Buffer {
  const bytes = Buffer.alloc(Math.ceil((40 + 16 + idBytes + nameBytes) / 8) * 8);
  bytes.writeUInt16BE(idBytes, 12);
  bytes.writeUInt16BE(nameBytes, 14);
  bytes.writeUInt32BE(16, 36);
  bytes.fill('i', 56, 56 + idBytes);
  bytes.fill('n', 56 + idBytes, 56 + idBytes + nameBytes);
  return bytes;
}

it('names of snapshots are whole, however long they are and wherever they begin', async () => {
  const storage = emptyContainer();
  const createFile = () => Promise.reject(new Error('no other file is wanted'));
  await createQcow2(storage, { sizeBytes: 4 << 20, settings: {}, createFile });
  const header = await readHeader(storage);
  const snapshotsOffset = storage.sizeBytes;
  for (let first = 65_400; first <= 65_535; first += 15) {
    const table = Buffer.concat([entryOf(65_535, first), entryOf(65_535, 65_535)]);
    await storage.write(table, 0, table.length, snapshotsOffset);
    const read = await readSnapshots(storage, { ...header, snapshotCount: 2, snapshotsOffset });
    expect(read.map(({ id, name }) => id.length + name.length)).toEqual([65_535 + first, 131_070]);
  }
});
