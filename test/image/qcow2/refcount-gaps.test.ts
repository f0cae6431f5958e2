import { readFileSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { FIELD } from '../../../src/image/qcow2/structures/layout.ts';
import { needsPrograms, runWell } from '../../tools/programs.ts';
import { workspace } from '../../tools/workspace.ts';
import { contentOf, create, expectClean, expectSame, KIB, openAt, qemuIo } from './images.ts';

const CLUSTER = 512;
/** Bytes of the storage that one block counts, with 64 bits for a cluster. */
const COUNTED = CLUSTER * (CLUSTER / 8);
const OFFSET = (1n << 56n) - 512n;

/** What of the refcount table of an image is empty between two blocks; indices. */
function gapsIn(image: string): number[] {
  const bytes = readFileSync(image);
  const table = Number(bytes.readBigUInt64BE(FIELD.refcountTableOffset));
  const isThere = Array.from({ length: 64 }, (_, i) => bytes.readBigUInt64BE(table + i * 8) !== 0n);
  const end = isThere.lastIndexOf(true);
  return isThere.flatMap((there, index) => (!there && index < end ? [index] : []));
}

describe('a refcount table with a gap of one block, as qemu-img leaves it', () => {
  needsPrograms('qemu-img', 'qemu-io');

  it('is filled when the image grows, and the image goes on to grow behind it', async () => {
    const settings = { cluster_size: CLUSTER, refcount_bits: 64 };
    const image = await create(`${workspace()}/disk.qcow2`, '1M', settings);
    // All L2 tables come before the data: blocks behind them count nothing else.
    await qemuIo(image, ...Array.from({ length: 32 }, (_, i) => `write -P 1 ${i * 32}k 512`));
    await qemuIo(image, 'write -P 1 0 1M', 'discard 300k 60k');
    await runWell('qemu-img', ['resize', '-q', '--shrink', image, '1000k']);
    await runWell('qemu-img', ['resize', '-q', image, '2000k']);
    expect(gapsIn(image)).toHaveLength(1);
    const disk = await openAt(image);
    const expected = await contentOf(disk);
    expected.fill(2, 1000 * KIB, 1900 * KIB);
    await disk.write(expected, 1000 * KIB, 900 * KIB, 1000 * KIB);
    await disk.close();
    expect(gapsIn(image)).toEqual([]);
    await expectClean(image);
    const again = await openAt(image, { isReadOnly: true });
    expectSame(await contentOf(again), expected);
    await again.close();
  });
});

describe('an image whose refcount table has lost its last blocks', () => {
  needsPrograms('qemu-img', 'qemu-io');

  it('gets no new blocks over an L2 table that lies where they would go', async () => {
    const settings = { cluster_size: CLUSTER, refcount_bits: 64 };
    const image = await create(`${workspace()}/disk.qcow2`, '2M', settings);
    await qemuIo(image, 'write -P 1 0 1M');
    const bytes = readFileSync(image);
    const at = (field: number) => Number(bytes.readBigUInt64BE(field));
    const l2 = Array.from({ length: 32 }, (_, i) => {
      return Number(bytes.readBigUInt64BE(at(FIELD.l1Offset) + i * 8) & OFFSET);
    });
    const lost = l2.find((offset) => offset > 0 && offset % COUNTED === 0);
    if (lost === undefined) throw new Error('no L2 table is the first that a block counts');
    const block = at(FIELD.refcountTableOffset) + (lost / COUNTED) * 8;
    bytes.fill(0, block, at(FIELD.refcountTableOffset) + CLUSTER);
    writeFileSync(image, bytes);
    const disk = await openAt(image);
    const content = Buffer.alloc(512 * KIB, 2);
    await expect(disk.write(content, 0, content.length, 1024 * KIB)).rejects.toThrow(
      `at offset ${lost}, a table is counted as free space`,
    );
    await disk.close();
    const after = readFileSync(image);
    expect(after.subarray(lost, lost + CLUSTER)).toEqual(bytes.subarray(lost, lost + CLUSTER));
    const isCorrupt = (after.readBigUInt64BE(FIELD.incompatible) & 2n) !== 0n;
    expect(isCorrupt).toBe(true);
  });
});
