/** Images of every format that can be written, as qemu-img makes them, to be served by the program. */

import fs from 'node:fs';
import path from 'node:path';
import { expect } from 'vitest';
import { runProgram, runWell } from './programs.ts';
import { makeWithKeySlot, PASSPHRASE, SECRET } from './qemu-luks.ts';

export interface ServedKind {
  readonly name: string;
  readonly format: 'qcow2' | 'qed' | 'qcow' | 'vmdk' | 'luks';
  /** As `-o` of qemu-img. */
  readonly options?: string;
  /** Whether `qemu-img check` knows the format, and is right about it. */
  readonly canCheck?: boolean;
  readonly isEnciphered?: boolean;
}

const LUKS = 'key-secret=key,iter-time=10';

export const SERVED_KINDS: readonly ServedKind[] = [
  { name: 'qcow2', format: 'qcow2', canCheck: true },
  { name: 'qcow2 v2', format: 'qcow2', options: 'compat=0.10', canCheck: true },
  { name: 'small qcow2', format: 'qcow2', options: 'cluster_size=512', canCheck: true },
  { name: 'large qcow2', format: 'qcow2', options: 'cluster_size=2M', canCheck: true },
  {
    name: 'thin qcow2',
    format: 'qcow2',
    options: 'extended_l2=on,cluster_size=128k',
    canCheck: true,
  },
  {
    name: 'lazy qcow2',
    format: 'qcow2',
    options: 'lazy_refcounts=on,refcount_bits=1',
    canCheck: true,
  },
  { name: 'pre-sized qcow2', format: 'qcow2', options: 'preallocation=falloc', canCheck: true },
  { name: 'split qcow2', format: 'qcow2', options: 'data_file=data.raw', canCheck: true },
  {
    ...{ name: 'enciphered qcow2', format: 'qcow2', canCheck: true, isEnciphered: true },
    options: 'encrypt.format=luks,encrypt.key-secret=key,encrypt.iter-time=10',
  },
  { name: 'luks', format: 'luks', options: LUKS, isEnciphered: true },
  { name: 'qed', format: 'qed', canCheck: true },
  { name: 'qcow', format: 'qcow' },
  { name: 'vmdk', format: 'vmdk', canCheck: true },
  { name: 'split vmdk', format: 'vmdk', options: 'subformat=twoGbMaxExtentSparse', canCheck: true },
  { name: 'flat vmdk', format: 'vmdk', options: 'subformat=monolithicFlat' },
];

/** Makes an empty image in the directory; answers its path. */
export async function makeServed(
  directory: string,
  { format, options, isEnciphered }: ServedKind,
  sizeBytes: number,
  ...more: string[]
): Promise<string> {
  const file = path.join(directory, `disk.${format}`);
  const secret = isEnciphered ? SECRET : [];
  const places = options?.replace('data_file=', `data_file=${directory}/`);
  const wishes = places === undefined ? [] : ['-o', places];
  const args = ['create', '-q', '-f', format, ...secret, ...wishes, ...more, file, `${sizeBytes}`];
  if (isEnciphered) await makeWithKeySlot(args);
  else await runWell('qemu-img', args);
  return file;
}

/** What the program needs to open those that are enciphered. */
export function passphraseIn(directory: string): string[] {
  const file = path.join(directory, 'passphrase');
  fs.writeFileSync(file, PASSPHRASE);
  return ['--passphrase-file', file];
}

/** As qemu-img is told of an image that may be enciphered. */
function imageOptions({ format, isEnciphered }: ServedKind, file: string): string[] {
  if (!isEnciphered) return [`driver=${format},file.filename=${file}`];
  const key = format === 'luks' ? 'key-secret=key' : 'encrypt.key-secret=key';
  return [`driver=${format},file.filename=${file},${key}`];
}

/** Holds that the image is sound, and reads as the raw file `model`. */
export async function expectSame(kind: ServedKind, file: string, model: string): Promise<void> {
  const secret = kind.isEnciphered ? SECRET : [];
  const image = ['--image-opts', ...imageOptions(kind, file)];
  if (kind.canCheck) {
    const ended = await runProgram('qemu-img', ['check', ...secret, ...image]);
    expect(ended, ended.stdout + ended.stderr).toMatchObject({ code: 0 });
  }
  const other = `driver=raw,file.filename=${model}`;
  await runWell('qemu-img', ['compare', ...secret, ...image, other]);
}
