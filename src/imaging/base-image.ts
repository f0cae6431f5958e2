/** The image that a new one is to stand on: what has to be said of it, and what is in it. */

import { dirname, resolve } from 'node:path';
import type { FormatName, ImageReference, ReferenceStamp } from '../image/format.ts';
import { driverOf, formatNameOf } from '../image/formats.ts';
import { checkMayBeNamed, Gate } from '../image/gate.ts';
import type { BlockImage } from '../image/image.ts';
import { openImage } from '../image/open.ts';
import { TmemError } from '../lib/errors.ts';
import { openFileStorage } from '../storage/file.ts';
import { stampFile } from '../storage/file-stamp.ts';

export interface BaseWish {
  /** As the new image is to call it: from the directory that the new image is in. */
  readonly name: string;
  /** By default what the name stands for. */
  readonly formatName?: FormatName | undefined;
  /** Where files may be that the base names; see `OpenImageOptions`. */
  readonly allowBacking?: readonly string[] | undefined;
  /** Of the base, and of what is below it. */
  readonly passphrase?: Buffer | undefined;
  /** Of what is below the base, where an image does not say it. */
  readonly backingFormatName?: FormatName | undefined;
}

/** An open base, the receiver's to close, and how an image refers to it. */
export interface OpenBase {
  readonly image: BlockImage;
  readonly reference: ImageReference;
  /** Why the image on it will not be opened as it is; undefined where it will. */
  readonly warning: string | undefined;
}

/** Opens the base of an image that is or will be at `path`; the operator has named both. */
export async function openBase(path: string, wish: BaseWish): Promise<OpenBase> {
  const { name, allowBacking = [], passphrase, backingFormatName } = wish;
  const { formatName = formatNameOf(name) } = wish;
  checkMayBeNamed(name);
  const basePath = resolve(dirname(path), name);
  if (basePath === path) {
    throw new TmemError('usage', `"${path}" cannot stand on itself; name another base`);
  }
  const image = await openImage(basePath, {
    ...{ isReadOnly: true, takesAnySize: true, formatName, allowBacking, backingFormatName },
    ...{ passphrase, backingPassphrase: passphrase, overlayCount: 1 },
  });
  try {
    const reference = await referenceTo(basePath, name, formatName);
    const refusal = await new Gate({ allowBacking }).refusalOf(path, reference);
    return { image, reference, warning: refusal?.message };
  } catch (cause) {
    await image.close();
    throw cause;
  }
}

async function referenceTo(
  path: string,
  name: string,
  formatName: FormatName,
): Promise<ImageReference> {
  const stamp = await referenceStampOf(path);
  const parentCid = formatName === 'vmdk' ? await contentIdOf(path) : undefined;
  return { role: 'backing file', name, formatName, parentCid, stamp };
}

/** What an image keeps of a file that it stands on; undefined for a block device. */
export async function referenceStampOf(path: string): Promise<ReferenceStamp | undefined> {
  const found = await stampFile(path);
  if (found === undefined) return undefined;
  return { sizeBytes: found.sizeBytes, changedAtMs: Number(found.mtimeNs / 1_000_000n) };
}

/** The number that says of a VMDK which content it has. */
export async function contentIdOf(path: string): Promise<number | undefined> {
  const storage = await openFileStorage(path, { isReadOnly: true, isContainer: true });
  try {
    const { details } = await (await driverOf('vmdk')).info(storage);
    return typeof details.cid === 'string' ? Number.parseInt(details.cid, 16) : undefined;
  } finally {
    await storage.close();
  }
}
