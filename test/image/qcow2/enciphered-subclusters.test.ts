import { readFileSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { needsPrograms, runWell } from '../../tools/programs.ts';
import { makeWithKeySlot, PASSPHRASE, SECRET } from '../../tools/qemu-luks.ts';
import { workspace } from '../../tools/workspace.ts';
import { contentOf, expectSame, KIB, MIB, openAt } from './images.ts';

/** Of 32 in a cluster of 64 KiB. */
const SUBCLUSTER = 2 * KIB;

/** A disk whose subclusters 0, 1 and 8 are there, filled with 1, and the others are not. */
async function partlyThere(directory: string): Promise<string> {
  const image = `${directory}/disk.qcow2`;
  const settings = ['extended_l2=on', 'encrypt.format=luks', 'encrypt.key-secret=key'];
  const format = ['-f', 'qcow2', '-o', [...settings, 'encrypt.iter-time=10'].join(',')];
  await makeWithKeySlot(['create', '-q', ...SECRET, ...format, image, `${MIB}`]);
  const disk = await openAt(image, { passphrase: PASSPHRASE });
  const bytes = Buffer.alloc(2 * SUBCLUSTER, 1);
  await disk.write(bytes, 0, 2 * SUBCLUSTER, 0);
  await disk.write(bytes, 0, SUBCLUSTER, 8 * SUBCLUSTER);
  await disk.close();
  return image;
}

let original: Buffer | undefined;

/** A copy of it: a key slot takes qemu-img some time. */
async function copyIn(directory: string): Promise<string> {
  original ??= readFileSync(await partlyThere(directory));
  const image = `${directory}/copy.qcow2`;
  writeFileSync(image, original);
  return image;
}

async function contentByQemu(image: string, directory: string): Promise<Buffer> {
  const raw = `${directory}/by-qemu.raw`;
  const options = `driver=qcow2,encrypt.key-secret=key,file.filename=${image}`;
  await runWell('qemu-img', ['convert', ...SECRET, '--image-opts', options, '-O', 'raw', raw]);
  return readFileSync(raw);
}

describe('a write into a part of an enciphered cluster that is there in part', () => {
  needsPrograms('qemu-img');
  it.each([
    ['begins in a sector that is there', 700, 5 * SUBCLUSTER + 9],
    ['ends in a sector that is there', 4 * SUBCLUSTER + 9, 8 * SUBCLUSTER + 700],
    ['begins and ends so', SUBCLUSTER + 3, 8 * SUBCLUSTER + 600],
    ['begins and ends where nothing is', 3 * SUBCLUSTER + 3, 6 * SUBCLUSTER + 77],
  ])('keeps what is around it: %s', async (_name, from, to) => {
    const directory = workspace();
    const image = await copyIn(directory);
    const expected = Buffer.alloc(MIB);
    expected
      .fill(1, 0, 2 * SUBCLUSTER)
      .fill(1, 8 * SUBCLUSTER, 9 * SUBCLUSTER)
      .fill(2, from, to);
    const disk = await openAt(image, { passphrase: PASSPHRASE });
    await disk.write(Buffer.alloc(to - from, 2), 0, to - from, from);
    expectSame(await contentOf(disk), expected);
    await disk.close();
    expectSame(await contentByQemu(image, directory), expected);
  });

  it('keeps what is written beside it at the same time', async () => {
    const image = await copyIn(workspace());
    const expected = Buffer.alloc(MIB);
    expected.fill(1, 0, 2 * SUBCLUSTER).fill(1, 8 * SUBCLUSTER, 9 * SUBCLUSTER);
    const disk = await openAt(image, { passphrase: PASSPHRASE });
    // All of these share sectors with their neighbours.
    const writes = Array.from({ length: 60 }, (_, index) => {
      const from = index * 301;
      expected.fill(index + 3, from, from + 301);
      return disk.write(Buffer.alloc(301, index + 3), 0, 301, from);
    });
    expect(await Promise.all(writes)).toHaveLength(60);
    expectSame(await contentOf(disk), expected);
    await disk.close();
  });
});
