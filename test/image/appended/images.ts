/** Images of one driver in memory or in files, without the gate: what the tests of formats share. */

import { rmSync, writeFileSync } from 'node:fs';
import type { CreateOptions, FormatDriver, ImageReference } from '../../../src/image/format.ts';
import { BlockImage } from '../../../src/image/image.ts';
import { rawImage } from '../../../src/image/raw.ts';
import type { ResizableStorage } from '../../../src/storage/storage.ts';
import { FaultyStorage } from '../../storage/faulty-storage.ts';
import { MemoryStorage } from '../../storage/memory-storage.ts';

const noFile = () => Promise.reject(new Error('nothing may be opened here'));

/** Can still be read when the image on it was closed. */
class KeptContainer extends MemoryStorage {
  override async close(): Promise<void> {}
}

export function emptyContainer(name = 'test.img'): MemoryStorage {
  return new KeptContainer(Buffer.alloc(0), { name, isContainer: true });
}

export function containerOf(bytes: Buffer, isReadOnly = false): MemoryStorage {
  return new KeptContainer(Buffer.from(bytes), { name: 'test.img', isReadOnly, isContainer: true });
}

export const BASE: ImageReference = {
  role: 'backing file',
  name: 'base.raw',
  formatName: 'raw',
};

export function createOn(
  driver: FormatDriver,
  storage: ResizableStorage,
  sizeBytes: number,
  settings: Record<string, string> = {},
  more: Partial<CreateOptions> = {},
): Promise<void> {
  if (driver.create === undefined) throw new Error(`${driver.formatName} cannot be made`);
  return driver.create(storage, { sizeBytes, settings, createFile: noFile, ...more });
}

/** Opens for writing, over `base` where that is given, with caches as small as they may be. */
export async function openOn(
  driver: FormatDriver,
  storage: ResizableStorage,
  base?: Buffer,
  passphrase?: Buffer,
): Promise<BlockImage> {
  const { isReadOnly } = storage;
  const options = { isReadOnly, tableBytesMax: 16 * 1024, openFile: noFile, passphrase };
  const { format } = await driver.open(storage, options);
  const backing = base === undefined ? undefined : rawImage(new MemoryStorage(base), 'base');
  const { name } = storage;
  return new BlockImage({ name, identity: name, medium: name, format, backing });
}

export async function contentOf(image: BlockImage): Promise<Buffer> {
  const content = Buffer.alloc(image.virtualSizeBytes);
  await image.read(content, 0, content.length, 0);
  return content;
}

export async function bytesOf(storage: ResizableStorage): Promise<Buffer> {
  const bytes = Buffer.alloc(storage.sizeBytes);
  await storage.read(bytes, 0, bytes.length, 0);
  return bytes;
}

export function checkOf(driver: FormatDriver, storage: ResizableStorage, repair?: 'leaks' | 'all') {
  if (driver.check === undefined) throw new Error(`${driver.formatName} has no check`);
  return driver.check(storage, { openFile: noFile, repair });
}

/** Writes a storage's bytes to a file, with holes where there are zeros; answers the path. */
export async function saveTo(path: string, storage: ResizableStorage): Promise<string> {
  rmSync(path, { force: true });
  writeFileSync(path, await bytesOf(storage));
  return path;
}

/** A container whose requests a test can trouble. */
export class FaultyContainer extends FaultyStorage implements ResizableStorage {
  readonly #container: ResizableStorage;

  constructor(container: ResizableStorage) {
    super(container);
    this.#container = container;
  }

  resize(sizeBytes: number): Promise<void> {
    return this.#container.resize(sizeBytes);
  }
}

/** Lets requests overtake each other, the same way for the same seed. */
export function unevenly(container: ResizableStorage, seed: number): FaultyContainer {
  const storage = new FaultyContainer(container);
  let turn = seed;
  const delay = async () => {
    turn = (turn * 5 + 3) % 16;
    for (let i = 0; i < turn % 3; i++) await new Promise((resolve) => setImmediate(resolve));
  };
  storage.onRead = delay;
  storage.onWrite = delay;
  storage.onSync = delay;
  return storage;
}
