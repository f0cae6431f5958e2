/** Putting an image on another base, or on none, without changing what it reads as. */

import type { FormatDriver, FormatName, ImageReference } from '../image/format.ts';
import { driverOf, formatNameOf } from '../image/formats.ts';
import type { BlockImage } from '../image/image.ts';
import { openImage } from '../image/open.ts';
import { TmemError } from '../lib/errors.ts';
import { openFileStorage } from '../storage/file.ts';
import { type BaseWish, openBase } from './base-image.ts';
import { copyDisk, newSharing } from './copy/copy.ts';
import { lookAt } from './copy/pieces.ts';
import type { WorkOptions } from './progress.ts';
import { TrialStorage } from './target/trial-storage.ts';

export interface RebaseOptions extends WorkOptions {
  readonly path: string;
  readonly formatName?: FormatName | undefined;
  /** What it is to stand on; undefined for nothing. */
  readonly base: BaseWish | undefined;
  /** Only changes what the image says: the bases are known to hold the same. Default false. */
  readonly isUnsafe?: boolean | undefined;
  readonly allowBacking?: readonly string[] | undefined;
  /** The format of what it stands on, where it does not say that; and so of what its new base does. */
  readonly backingFormatName?: FormatName | undefined;
  readonly passphrase?: Buffer | undefined;
  /** As for `openImage`. */
  readonly warn?: ((message: string) => void) | undefined;
  readonly threads?: number | undefined;
}

/** Bytes gone through between two looks at the signal. */
const FLATTEN_BYTES = 64 * 1024 * 1024;

/** Answers how many bytes were copied into the image. */
export async function rebaseImage(options: RebaseOptions): Promise<number> {
  if (options.base === undefined) return flatten(options);
  const { path, formatName = formatNameOf(path), isUnsafe = false } = options;
  const driver = await driverOf(formatName);
  if (driver.rebase === undefined) throw keepsBase(path, formatName);
  const { passphrase, backingFormatName, warn } = options;
  const base = await openBase(path, { passphrase, backingFormatName, ...options.base });
  let copied = 0;
  try {
    await checkIsNotBelow(path, base.image);
    if (!isUnsafe) {
      await checkHasNoSnapshots(options);
      await checkIsPossible(driver, path, base.reference);
      copied = await copyDifference(options, base.image);
    }
  } finally {
    await base.image.close();
  }
  const storage = await openFileStorage(path, { isReadOnly: false, isContainer: true });
  try {
    await driver.rebase(storage, base.reference);
  } finally {
    await storage.close();
  }
  if (base.warning !== undefined) warn?.(base.warning);
  return copied;
}

function keepsBase(path: string, formatName: FormatName): TmemError {
  const what =
    formatName === 'qcow'
      ? 'qcow images keep their base; convert it with --backing to a new image'
      : `${formatName} images cannot stand on another image; put one of another format on it`;
  return new TmemError('unsupported', `cannot rebase "${path}": ${what}`, { context: { path } });
}

/** An image that stands on one that stands on it could not be opened any more, nor could that one. */
async function checkIsNotBelow(path: string, base: BlockImage): Promise<void> {
  const storage = await openFileStorage(path, { isReadOnly: true, isContainer: true });
  await storage.close();
  for (let image: BlockImage | undefined = base; image !== undefined; image = image.backing) {
    if (image.medium !== storage.medium) continue;
    const message = `"${path}" cannot stand on "${base.name}", which itself stands on it`;
    throw new TmemError('usage', `${message}; name another base`, { context: { path } });
  }
}

/** Refuses what the format would refuse when all is copied: names without room, for one. */
async function checkIsPossible(
  driver: FormatDriver,
  path: string,
  reference: ImageReference,
): Promise<void> {
  const storage = await openFileStorage(path, { isReadOnly: true, isContainer: true });
  try {
    await driver.rebase?.(new TrialStorage(storage), reference);
  } finally {
    await storage.close();
  }
}

/** Copies into the image where its holes show something else than they will on the new base. */
async function copyDifference(options: RebaseOptions, base: BlockImage): Promise<number> {
  const image = await openForWriting(options);
  try {
    const sharedBytesOf = newSharing(image, base);
    const { threads, onProgress, signal } = options;
    const copied = await copyDisk({
      ...{ source: image, target: image, base, threads, onProgress, signal },
      // A zero could be taken for one that is there already: below, where it will not be any more.
      keepsZeroes: true,
      look: async (offset, length) => {
        const extent = await image.extent(offset, length);
        const isOwn = extent.depth === 0 && extent.isAllocated;
        if (isOwn) return { kind: 'skipped', length: extent.length };
        const shared = sharedBytesOf(extent, offset);
        if (shared > 0) return { kind: 'skipped', length: shared };
        const below = await lookAt(base, offset, extent.length);
        const isZero = extent.isZero && below.kind === 'zero';
        return { kind: isZero ? 'skipped' : 'data', length: below.length };
      },
    });
    await image.sync();
    return copied;
  } finally {
    await image.close();
  }
}

/** Snapshots have holes of their own, which nobody fills. */
async function checkHasNoSnapshots({ path, formatName }: RebaseOptions): Promise<void> {
  const storage = await openFileStorage(path, { isReadOnly: true, isContainer: true });
  try {
    const driver = await driverOf(formatName ?? formatNameOf(path));
    const { snapshots } = await driver.info(storage);
    if (snapshots.length === 0) return;
  } finally {
    await storage.close();
  }
  const cause = 'its snapshots would show something else';
  const advice = 'delete them first, or say --unsafe if both bases hold the same';
  throw new TmemError('unsupported', `"${path}" keeps its base: ${cause}; ${advice}`);
}

/** Copies all that shows through, and lets go of what is below. */
async function flatten(options: RebaseOptions): Promise<number> {
  const { signal, onProgress, path, isUnsafe } = options;
  if (isUnsafe === true) {
    throw new TmemError('usage', 'without a base its holes would be lost; leave --unsafe out');
  }
  const image = await openForWriting(options);
  try {
    if (image.backing === undefined) {
      throw new TmemError('usage', `"${path}" stands on no other image; there is nothing to do`);
    }
    image.checkMayDropBacking();
    const { virtualSizeBytes: totalBytes } = image;
    let copied = 0;
    for (let done = 0; done < totalBytes; ) {
      signal?.throwIfAborted();
      const length = Math.min(FLATTEN_BYTES, totalBytes - done);
      copied += await image.copyUp(done, length);
      done += length;
      onProgress?.({ doneBytes: done, totalBytes });
    }
    await image.sync();
    await image.dropBacking();
    return copied;
  } finally {
    await image.close();
  }
}

function openForWriting(options: RebaseOptions): Promise<BlockImage> {
  const { path, formatName, allowBacking, backingFormatName, passphrase, warn } = options;
  return openImage(path, {
    ...{ isReadOnly: false, formatName, allowBacking, backingFormatName, warn },
    ...{ passphrase, backingPassphrase: passphrase },
  });
}
