/** Images whose tables say what is not true, and where those are. */

import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { expect } from 'vitest';
import { FIELD } from '../../../src/image/qcow2/structures/layout.ts';
import { runWell } from '../../tools/programs.ts';
import { create, KIB, MIB, qemuIo } from './images.ts';

export const CLUSTER = 64 * KIB;
export const COPIED = 1n << 63n;
const OFFSET = (1n << 56n) - 512n;

/** Where the tables of a small image with a snapshot are. */
export function placesIn(bytes: Buffer) {
  const at = (offset: number) => Number(bytes.readBigUInt64BE(offset) & OFFSET);
  const l1 = at(FIELD.l1Offset);
  const refcountTable = at(FIELD.refcountTableOffset);
  const snapshots = at(FIELD.snapshotsOffset);
  const refcountBlock = at(refcountTable);
  return { l1, l2: at(l1), refcountTable, refcountBlock, snapshots, snapshotL1: at(snapshots) };
}

export type Places = ReturnType<typeof placesIn>;

/** Changes the file, and keeps what it is then for `expectUnchanged`. */
export function damage(image: string, change: (bytes: Buffer, places: Places) => void): void {
  const bytes = readFileSync(image);
  change(bytes, placesIn(bytes));
  writeFileSync(image, bytes);
  copyFileSync(image, `${image}.before`);
}

/** Where the content of a header extension begins. */
export function extensionAt(bytes: Buffer, type: number): number {
  for (let at = bytes.readUInt32BE(FIELD.headerBytes); bytes.readUInt32BE(at) !== 0; ) {
    const length = bytes.readUInt32BE(at + 4);
    if (bytes.readUInt32BE(at) === type) return at + 8;
    at += 8 + Math.ceil(length / 8) * 8;
  }
  throw new Error('the image has no such extension');
}

/** A small image with a snapshot, and a table of its own beside that, changed by the test. */
export async function damaged(directory: string, change: (bytes: Buffer, places: Places) => void) {
  const image = await create(`${directory}/disk.qcow2`, 4 * MIB);
  await qemuIo(image, 'write -P 1 0 128k');
  await runWell('qemu-img', ['snapshot', '-c', 'first', image]);
  await qemuIo(image, 'write -P 2 0 64k');
  damage(image, change);
  return image;
}

/** The file as it was, but for the features, where the image is marked as corrupt. */
export function expectUnchanged(image: string): void {
  const before = readFileSync(`${image}.before`);
  const after = readFileSync(image);
  before.writeBigUInt64BE(before.readBigUInt64BE(FIELD.incompatible) | 2n, FIELD.incompatible);
  expect(after.subarray(0, before.length).equals(before)).toBe(true);
}
