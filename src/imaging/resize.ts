/** Another size of a disk. */

import type { BlockImage } from '../image/image.ts';
import { TmemError } from '../lib/errors.ts';
import { roundUp } from '../lib/round-up.ts';

/** Disks are made of whole sectors. */
const SECTOR_BYTES = 512;

export interface ResizeOptions {
  /** Rounded up to whole sectors. */
  readonly sizeBytes: number;
  /** What lies behind a smaller size is lost; without this it is refused. */
  readonly mayShrink: boolean;
}

/** Durably changes the size; answers what it is now. */
export async function resizeImage(image: BlockImage, options: ResizeOptions): Promise<number> {
  const sizeBytes = roundUp(options.sizeBytes, SECTOR_BYTES);
  const { name, virtualSizeBytes } = image;
  if (!Number.isSafeInteger(sizeBytes) || sizeBytes < SECTOR_BYTES) {
    throw new TmemError('usage', `"${name}" cannot have ${sizeBytes} bytes; give it at least 512`);
  }
  if (sizeBytes < virtualSizeBytes && !options.mayShrink) {
    const lost = `the last ${virtualSizeBytes - sizeBytes} bytes of "${name}" would be lost`;
    throw new TmemError('usage', `${lost}; say --shrink if that is meant`);
  }
  if (sizeBytes !== virtualSizeBytes) await image.resize(sizeBytes);
  await image.sync();
  return sizeBytes;
}
