import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { BlockImage } from '../../../src/image/image.ts';
import { FIELD } from '../../../src/image/qcow2/structures/layout.ts';
import { needsPrograms } from '../../tools/programs.ts';
import { workspace } from '../../tools/workspace.ts';
import { CLUSTER, COPIED, damage, damaged, type Places, placesIn } from './damaged-tables.ts';
import { create, expectClean, MIB, openAt, qemuIo } from './images.ts';

const PLACE = 5 * CLUSTER;

/** What gives up the space that an entry names. */
const CHANGES: readonly [string, (disk: BlockImage) => Promise<void>][] = [
  ['discard', (disk) => disk.discard(PLACE, CLUSTER)],
  ['write of zeros', (disk) => disk.writeZeroes(PLACE, CLUSTER, true)],
  ['write that copies', (disk) => disk.write(Buffer.alloc(CLUSTER, 3), 0, CLUSTER, PLACE)],
];

const TABLES: readonly (keyof Places)[] = ['l1', 'l2', 'refcountTable', 'snapshotL1'];

/** The change is the last that the image takes, and the table at `at` begins as it did. */
async function expectKept(image: string, change: (disk: BlockImage) => Promise<void>, at: number) {
  const before = readFileSync(image).subarray(at, at + 8);
  const disk = await openAt(image);
  await change(disk);
  await disk.sync();
  await expect(disk.discard(0, CLUSTER)).rejects.toThrow(/is damaged and takes no more changes/);
  await disk.close();
  const after = readFileSync(image);
  expect(after.subarray(at, at + 8).equals(before)).toBe(true);
  expect(after.readBigUInt64BE(FIELD.incompatible) & 2n).toBe(2n);
}

describe('a table that an entry names as data', () => {
  needsPrograms('qemu-img', 'qemu-io');

  const cases = TABLES.flatMap((table) => CHANGES.map((change) => [table, ...change] as const));
  it.each(cases)('is not given up: %s, by a %s', async (table, _name, change) => {
    let at = 0;
    const image = await damaged(workspace(), (bytes, places) => {
      at = places[table];
      bytes.writeBigUInt64BE(BigInt(at), places.l2 + (PLACE / CLUSTER) * 8);
    });
    await expectKept(image, change, at);
  });

  it('keeps its bytes where a discard leaves space in its place', async () => {
    const image = await create(`${workspace()}/disk.qcow2`, MIB, { preallocation: 'falloc' });
    damage(image, (bytes, { l2, refcountTable }) => {
      bytes.writeBigUInt64BE(BigInt(refcountTable) | COPIED, l2 + (PLACE / CLUSTER) * 8);
    });
    const before = readFileSync(image);
    const { refcountTable: at } = placesIn(before);
    const disk = await openAt(image);
    await expect(disk.discard(PLACE, CLUSTER)).rejects.toThrow(/is damaged: data .* a table is/);
    await expect(disk.discard(0, CLUSTER)).rejects.toThrow(/takes no more changes/);
    await disk.close();
    const table = before.subarray(at, at + CLUSTER);
    expect(
      readFileSync(image)
        .subarray(at, at + CLUSTER)
        .equals(table),
    ).toBe(true);
  });
});

describe('an L2 table that is copied before it changes', () => {
  needsPrograms('qemu-img', 'qemu-io');

  it.each<keyof Places>(['refcountTable', 'snapshotL1'])(
    'is not given up where another table is: %s',
    async (table) => {
      let at = 0;
      const image = await damaged(workspace(), (bytes, places) => {
        at = places[table];
        bytes.writeBigUInt64BE(BigInt(at), places.l1);
      });
      await expectKept(image, (disk) => disk.writeZeroes(MIB, CLUSTER, true), at);
    },
  );

  it('is given up where nothing else is, and its space is used again', async () => {
    const image = await create(`${workspace()}/disk.qcow2`, 4 * MIB);
    await qemuIo(image, 'write -P 1 0 64k');
    damage(image, (bytes, { l1, l2 }) => bytes.writeBigUInt64BE(BigInt(l2), l1));
    const { l2 } = placesIn(readFileSync(image));
    const disk = await openAt(image);
    for (let at = 0; at < 3; at++) {
      await disk.write(Buffer.alloc(CLUSTER, 3), 0, CLUSTER, MIB + at * CLUSTER);
      await disk.sync();
    }
    await disk.close();
    const bytes = readFileSync(image);
    expect(bytes.readUInt8(l2)).toBe(3);
    await expectClean(image);
  });
});
