/** qcow2 images made and judged by qemu-img, and opened by ours. */

import { readFileSync } from 'node:fs';
import { expect } from 'vitest';
import { BlockImage } from '../../../src/image/image.ts';
import { openQcow2 } from '../../../src/image/qcow2/open.ts';
import { rawImage } from '../../../src/image/raw.ts';
import { openFileStorage } from '../../../src/storage/file.ts';
import type { ResizableStorage } from '../../../src/storage/storage.ts';
import { MemoryStorage } from '../../storage/memory-storage.ts';
import { runProgram, runWell } from '../../tools/programs.ts';

export const KIB = 1024;
export const MIB = 1024 * KIB;

/** How the tests open images. */
export interface OpenChoices {
  readonly isReadOnly?: boolean;
  readonly backing?: () => BlockImage;
  readonly snapshot?: string;
  readonly passphrase?: string;
  readonly tableBytesMax?: number;
  /** What the image's data file is. */
  readonly dataFile?: ResizableStorage;
}

/** The qcow2 image on `storage`, over a backing image that the test gives. */
export async function openOn(
  storage: ResizableStorage,
  choices: OpenChoices = {},
): Promise<BlockImage> {
  const { passphrase, dataFile } = choices;
  const { format } = await openQcow2(storage, {
    isReadOnly: choices.isReadOnly ?? false,
    tableBytesMax: choices.tableBytesMax ?? 4 * MIB,
    snapshot: choices.snapshot,
    passphrase: passphrase === undefined ? undefined : Buffer.from(passphrase),
    openFile: async () => {
      if (dataFile === undefined) throw new Error('the test gave no data file');
      return dataFile;
    },
  });
  const { name } = storage;
  return new BlockImage({
    name,
    identity: name,
    medium: name,
    format,
    backing: choices.backing?.(),
  });
}

/** The same for the file at `path`. */
export async function openAt(path: string, choices: OpenChoices = {}): Promise<BlockImage> {
  const isReadOnly = choices.isReadOnly ?? choices.snapshot !== undefined;
  const storage = await openFileStorage(path, { isReadOnly, isContainer: true });
  try {
    return await openOn(storage, choices);
  } catch (cause) {
    await storage.close();
    throw cause;
  }
}

/** The raw file at `path`, for reading, in memory. */
export function rawAt(path: string): BlockImage {
  return rawImage(new MemoryStorage(readFileSync(path), { isReadOnly: true }), path);
}

/** Makes an empty image; options are qemu-img's. */
export async function create(
  path: string,
  size: number | string,
  options: Readonly<Record<string, string | number>> = {},
  more: readonly string[] = [],
): Promise<string> {
  const pairs = Object.entries(options).map(([name, value]) => `${name}=${value}`);
  const settings = pairs.length === 0 ? [] : ['-o', pairs.join(',')];
  await runWell('qemu-img', ['create', '-q', '-f', 'qcow2', ...settings, ...more, path, `${size}`]);
  return path;
}

/** Runs qemu-io commands on the image. */
export async function qemuIo(path: string, ...commands: readonly string[]): Promise<void> {
  const args = commands.flatMap((command) => ['-c', command]);
  const said = await runWell('qemu-io', ['-f', 'qcow2', ...args, path]);
  // qemu-io ends well whatever became of its commands.
  if (/failed|error|invalid/i.test(said)) throw new Error(said);
}

/** Expects qemu-img to find neither corruption nor leaks. */
export async function expectClean(path: string): Promise<void> {
  const { code, stdout, stderr } = await runProgram('qemu-img', ['check', '-f', 'qcow2', path]);
  expect(`${code} ${code === 0 ? '' : stdout + stderr}`).toBe('0 ');
}

/** The guest's disk as qemu-img reads it. */
export async function contentByQemu(
  path: string,
  directory: string,
  more: readonly string[] = [],
): Promise<Buffer> {
  const raw = `${directory}/by-qemu.raw`;
  await runWell('qemu-img', ['convert', '-f', 'qcow2', '-O', 'raw', ...more, path, raw]);
  return readFileSync(raw);
}

/** The guest's disk as ours reads it, in requests of `pieceBytes`. */
export async function contentOf(image: BlockImage, pieceBytes = 300_000): Promise<Buffer> {
  const content = Buffer.alloc(image.virtualSizeBytes);
  for (let at = 0; at < content.length; at += pieceBytes) {
    await image.read(content, at, Math.min(pieceBytes, content.length - at), at);
  }
  return content;
}

/** Throws with the first difference: a diff of megabytes helps nobody. */
export function expectSame(actual: Buffer, expected: Buffer, what = 'content'): void {
  if (actual.equals(expected)) return;
  expect(actual.length, `${what}: length`).toBe(expected.length);
  let at = 0;
  while (actual[at] === expected[at]) at++;
  const shown = (bytes: Buffer) => bytes.subarray(at, at + 16).toString('hex');
  throw new Error(`${what} differs at ${at}: ${shown(actual)}, not ${shown(expected)}`);
}
