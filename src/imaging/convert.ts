/** Writing the content of an image into a new one: in parallel, without what is zeros. */

import type { FormatName } from '../image/format.ts';
import type { BlockImage } from '../image/image.ts';
import { TmemError } from '../lib/errors.ts';
import type { OpenBase } from './base-image.ts';
import { copyDisk, newSharing } from './copy/copy.ts';
import { kindOf } from './copy/pieces.ts';
import { NewImage } from './create.ts';
import type { WorkOptions } from './progress.ts';

export interface ConvertOptions extends WorkOptions {
  /** Stays the caller's. */
  readonly source: BlockImage;
  /** From the root. */
  readonly path: string;
  readonly formatName: FormatName;
  readonly settings?: Readonly<Record<string, string>> | undefined;
  readonly passphrase?: Buffer | undefined;
  readonly isForced?: boolean | undefined;
  /** See `TargetOptions`. Default true. */
  readonly isDurable?: boolean | undefined;
  /** What the new image stands on: only what differs from it is written. The conversion's own. */
  readonly base?: OpenBase | undefined;
  readonly isCompressed?: boolean | undefined;
  /** Ranges under way at once, 1 to 64. Default 8. */
  readonly threads?: number | undefined;
  /** Zeros are left out from so many bytes in a row on; 0 writes all of them. Default 4096. */
  readonly sparseBytes?: number | undefined;
}

export interface Converted {
  /** Of the disk, and of that what was written as content. */
  readonly sizeBytes: number;
  readonly writtenBytes: number;
  /** Of the file at `path`; others may be beside it. */
  readonly fileBytes: number;
}

/** Makes the image at `path`; after a rejection nothing of it is left. */
export async function convertImage(options: ConvertOptions): Promise<Converted> {
  const { source, path, formatName, settings, passphrase, base, signal } = options;
  let made: NewImage | undefined;
  try {
    signal?.throwIfAborted();
    const { virtualSizeBytes: sizeBytes } = source;
    const { isForced, isDurable } = options;
    const place = { path, isForced, isDurable };
    const wish = { ...place, formatName, sizeBytes, settings, passphrase, base };
    made = await NewImage.begin(wish);
  } catch (cause) {
    await base?.image.close();
    throw cause;
  }
  try {
    const writtenBytes = await fill(made, options);
    signal?.throwIfAborted();
    await made.finish();
    const { sizeBytes, fileBytes } = made;
    return { sizeBytes, writtenBytes, fileBytes };
  } catch (cause) {
    throw await made.abandon(cause);
  }
}

async function fill(made: NewImage, options: ConvertOptions): Promise<number> {
  const target = await made.open();
  try {
    const writtenBytes = await copy(target, options);
    await target.sync();
    return writtenBytes;
  } finally {
    await target.close();
  }
}

/** Answers how many bytes were written as content. */
async function copy(target: BlockImage, options: ConvertOptions): Promise<number> {
  const { source, base, threads, sparseBytes } = options;
  const keepsZeroes = sparseBytes === 0;
  const skips = base === undefined ? undefined : newSharing(source, base.image);
  return copyDisk({
    ...{ source, target, base: base?.image, threads, sparseBytes, keepsZeroes },
    ...{ onProgress: options.onProgress, signal: options.signal },
    isCompressed: checkCompression(target, options),
    isBlank: await readsAsZeros(target),
    look: async (offset, length) => {
      const extent = await source.extent(offset, length);
      const sharedBytes = skips?.(extent, offset) ?? 0;
      if (sharedBytes > 0) return { kind: 'skipped', length: sharedBytes };
      return { kind: keepsZeroes ? 'data' : kindOf(extent), length: extent.length };
    },
  });
}

/** Streams are always compressed; other formats where it is asked for. */
function checkCompression(target: BlockImage, { isCompressed, formatName }: ConvertOptions) {
  if (isCompressed !== true && !target.isAppendOnly) return false;
  if (target.compression !== undefined) return true;
  const advice = 'leave --compress out, or choose another format';
  throw new TmemError('usage', `${formatName} images cannot be compressed; ${advice}`);
}

/** Runs of a new image that are looked at; a new one has few, unless it stands on something. */
const BLANK_RUNS_MAX = 65_536;

/** Whether all of a new image reads as zeros, so that zeros need not be written. */
async function readsAsZeros(target: BlockImage): Promise<boolean> {
  const { virtualSizeBytes } = target;
  let offset = 0;
  for (let runs = 0; offset < virtualSizeBytes; runs++) {
    if (runs === BLANK_RUNS_MAX) return false;
    const { isZero, length } = await target.extent(offset, virtualSizeBytes - offset);
    if (!isZero) return false;
    offset += length;
  }
  return true;
}
