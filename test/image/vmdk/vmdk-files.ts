/** VMDKs in files, opened and made without the gate: what the tests of this format share. */

import { readFileSync } from 'node:fs';
import path from 'node:path';
import type { CheckReport, CreateOptions, ImageReference } from '../../../src/image/format.ts';
import { BlockImage } from '../../../src/image/image.ts';
import { vmdkDriver } from '../../../src/image/vmdk/driver.ts';
import { openFileStorage } from '../../../src/storage/file.ts';
import type { ResizableStorage } from '../../../src/storage/storage.ts';
import { Random } from '../../tools/crash-random.ts';
import { runProgram, runWell } from '../../tools/programs.ts';

export const SUBFORMATS = [
  ...['monolithicSparse', 'streamOptimized', 'monolithicFlat'],
  ...['twoGbMaxExtentSparse', 'twoGbMaxExtentFlat'],
] as const;
/** Those that can be written anywhere. */
export const REWRITABLE = SUBFORMATS.filter((each) => each !== 'streamOptimized');

function openStorage(file: string, isReadOnly = true): Promise<ResizableStorage> {
  return openFileStorage(file, { isReadOnly, isContainer: true, wantsDirect: false });
}

/** Whatever an image names, in its own folder. */
function filesBeside(file: string, isReadOnly = true) {
  return ({ name }: ImageReference) => openStorage(path.join(path.dirname(file), name), isReadOnly);
}

/** The image with its parents, as the generic code has it. */
export async function openVmdkFile(file: string, isReadOnly = true): Promise<BlockImage> {
  const storage = await openStorage(file, isReadOnly);
  const openFile = filesBeside(file, isReadOnly);
  const options = { isReadOnly, tableBytesMax: 16 * 1024, openFile };
  const { format, backing } = await vmdkDriver.open(storage, options);
  const below = backing === undefined ? undefined : await openVmdkFile(besides(file, backing.name));
  return new BlockImage({ name: file, identity: file, medium: file, format, backing: below });
}

function besides(file: string, name: string): string {
  return path.resolve(path.dirname(file), name);
}

export async function createVmdkFile(
  file: string,
  sizeBytes: number,
  settings: Record<string, string> = {},
  more: Partial<CreateOptions> = {},
): Promise<void> {
  const isNew = { isReadOnly: false, isContainer: true, isNew: true };
  const storage = await openFileStorage(file, isNew);
  const createFile = (name: string) => openFileStorage(besides(file, name), isNew);
  try {
    await vmdkDriver.create?.(storage, { sizeBytes, settings, createFile, ...more });
  } finally {
    await storage.close();
  }
}

export async function infoOf(file: string) {
  const storage = await openStorage(file);
  try {
    return await vmdkDriver.info(storage);
  } finally {
    await storage.close();
  }
}

export async function checkFile(file: string, repair?: 'leaks' | 'all'): Promise<CheckReport> {
  const isReadOnly = repair === undefined;
  const storage = await openStorage(file, isReadOnly);
  try {
    if (vmdkDriver.check === undefined) throw new Error('vmdk has no check');
    return await vmdkDriver.check(storage, { openFile: filesBeside(file, isReadOnly), repair });
  } finally {
    await storage.close();
  }
}

/** Writes `bytes` at `offset`; a stream takes them as whole grains, in order. */
export async function writeTo(image: BlockImage, bytes: Buffer, offset: number): Promise<void> {
  if (image.compression === undefined) return image.write(bytes, 0, bytes.length, offset);
  const { unitBytes } = image;
  const writes: Promise<void>[] = [];
  for (let at = 0; at < bytes.length; at += unitBytes) {
    const unit = Buffer.alloc(unitBytes);
    bytes.copy(unit, 0, at, at + unitBytes);
    writes.push(image.writeCompressed(offset + at, unit));
  }
  await Promise.all(writes);
}

/** Text that compresses, noise that does not, and a pattern that tells sectors apart. */
export function sampleBytes(length: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let at = 0; at < length; at += 512) {
    bytes.write(`sector ${at} `.repeat(40), at, Math.min(512, length - at), 'latin1');
  }
  const random = new Random(length);
  const begin = Math.floor(length / 3);
  const end = Math.min(length, begin + 70_000);
  for (let at = begin; at + 4 <= end; at += 4) bytes.writeUInt32LE(random.next(), at);
  return bytes;
}

export async function contentOf(file: string): Promise<Buffer> {
  const image = await openVmdkFile(file);
  try {
    const content = Buffer.alloc(image.virtualSizeBytes);
    await image.read(content, 0, content.length, 0);
    return content;
  } finally {
    await image.close();
  }
}

/** What qemu reads of an image. */
export async function qemuContentOf(file: string): Promise<Buffer> {
  const raw = `${file}.raw`;
  await runWell('qemu-img', ['convert', '-f', 'vmdk', '-O', 'raw', file, raw]);
  return readFileSync(raw);
}

/** The exit code of qemu-img check. */
export async function qemuCheck(file: string): Promise<number | null> {
  return (await runProgram('qemu-img', ['check', '-f', 'vmdk', file])).code;
}

export function qemuIo(file: string, ...commands: string[]): Promise<string> {
  return runWell('qemu-io', ['-f', 'vmdk', ...commands.flatMap((each) => ['-c', each]), file]);
}
