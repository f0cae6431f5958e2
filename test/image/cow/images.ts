/** Copy-on-write images in memory, on a base of 0xba bytes. */

import { cowDriver } from '../../../src/image/cow/driver.ts';
import { BlockImage } from '../../../src/image/image.ts';
import { rawImage } from '../../../src/image/raw.ts';
import { MemoryStorage } from '../../storage/memory-storage.ts';

export const SIZE = 300 * 512;
export const STAMP = { sizeBytes: SIZE, changedAtMs: 1_700_000_000_123 };

function nothing(): Promise<never> {
  return Promise.reject(new Error('no other file is there'));
}

/** A new image, in memory unless a file is given. */
export async function createOn<File extends MemoryStorage = MemoryStorage>(
  settings: Record<string, string>,
  file = new MemoryStorage(Buffer.alloc(0), { name: 'overlay.cow' }) as File,
  sizeBytes = SIZE,
): Promise<File> {
  await cowDriver.create?.(file, {
    sizeBytes,
    settings,
    backing: { role: 'backing file', name: 'base.raw', formatName: 'raw', stamp: STAMP },
    createFile: nothing,
  });
  return file;
}

/** The image as a disk on its base. */
export async function openOn(file: MemoryStorage): Promise<BlockImage> {
  const options = { isReadOnly: false, tableBytesMax: 1 << 20, openFile: nothing };
  const { format, backing } = await cowDriver.open(file, options);
  const base = new MemoryStorage(Buffer.alloc(SIZE, 0xba), { name: 'base.raw' });
  return new BlockImage({
    name: 'overlay.cow',
    identity: 'overlay',
    medium: 'overlay',
    format,
    ...(backing !== undefined && { backing: rawImage(base, 'base') }),
  });
}
