/** Another size of a disk. */

import { SECTOR_BYTES } from '../image/format.ts';
import type { BlockImage } from '../image/image.ts';
import { TmemError } from '../lib/errors.ts';
import { roundUp } from '../lib/round-up.ts';

export interface ResizeOptions {
  /** Rounded up to whole sectors. */
  readonly sizeBytes: number;
  /** What lies behind a smaller size is lost; without this it is refused. */
  readonly mayShrink: boolean;
}

/** Durably changes the size; answers what it is now. */
export async function resizeImage(image: BlockImage, options: ResizeOptions): Promise<number> {
  const sizeBytes = roundUp(options.sizeBytes, SECTOR_BYTES);
  const { name, virtualSizeBytes, formatName } = image;
  // An empty raw file could not be opened for writing any more, and so have no other size again.
  const leastBytes = formatName === 'raw' ? SECTOR_BYTES : 0;
  if (!Number.isSafeInteger(sizeBytes) || sizeBytes < leastBytes) {
    throw new TmemError(
      'usage',
      `"${name}" cannot have ${sizeBytes} bytes; give it at least ${leastBytes}`,
    );
  }
  if (sizeBytes < virtualSizeBytes && !options.mayShrink) {
    const lost = `the last ${virtualSizeBytes - sizeBytes} bytes of "${name}" would be lost`;
    throw new TmemError('usage', `${lost}; say --shrink if that is meant`);
  }
  if (sizeBytes !== virtualSizeBytes) await image.resize(sizeBytes);
  await image.sync();
  return sizeBytes;
}
