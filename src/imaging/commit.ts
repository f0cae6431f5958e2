/** Writing what an image has of its own into the image below it. */

import { TABLE_BYTES_DEFAULT } from '../image/data/image-memory.ts';
import type { FormatName, ImageReference, ReferenceStamp } from '../image/format.ts';
import { driverOf, formatNameOf } from '../image/formats.ts';
import { Gate } from '../image/gate.ts';
import { BlockImage } from '../image/image.ts';
import { openImage } from '../image/open.ts';
import { TmemError } from '../lib/errors.ts';
import { openFileStorage } from '../storage/file.ts';
import { contentIdOf, referenceStampOf } from './base-image.ts';
import { copyDisk } from './copy/copy.ts';
import { kindOf } from './copy/pieces.ts';
import type { WorkOptions } from './progress.ts';

export interface CommitOptions extends WorkOptions {
  /** Of the image on top, which is only read. */
  readonly path: string;
  readonly formatName?: FormatName | undefined;
  readonly allowBacking?: readonly string[] | undefined;
  readonly backingFormatName?: FormatName | undefined;
  /** Of the image on top, and of those below it. */
  readonly passphrase?: Buffer | undefined;
  /** As for `openImage`. */
  readonly warn?: ((message: string) => void) | undefined;
  readonly threads?: number | undefined;
}

export interface Committed {
  /** Where the base really is. */
  readonly basePath: string;
  readonly writtenBytes: number;
}

/**
 * Afterwards the base reads as the image on top does. That one hides all that is written, so that it
 * reads the same however this ends, killed or not. Nothing of it is changed but, in a VMDK and a cow
 * image, which content its base has.
 */
export async function commitImage(options: CommitOptions): Promise<Committed> {
  await checkChain(options);
  const { onProgress, signal, threads, path, formatName = formatNameOf(path) } = options;
  const knowsContent = formatName === 'vmdk' || formatName === 'cow';
  const remember = formatName === 'cow' ? await forgetStamp(path) : undefined;
  const { overlay, base, basePath } = await openForCommit(options).catch(async (cause: unknown) => {
    await remember?.().catch(() => undefined); // nothing has changed the base: one that does is refused as before
    throw cause;
  });
  let writtenBytes: number;
  try {
    if (base.virtualSizeBytes < overlay.virtualSizeBytes) {
      await base.resize(overlay.virtualSizeBytes);
    }
    writtenBytes = await copyDisk({
      ...{ source: overlay, target: base, onProgress, signal, threads },
      look: async (offset, length) => {
        const extent = await overlay.extent(offset, length);
        const isOwn = extent.depth === 0 && extent.isAllocated;
        return { kind: isOwn ? kindOf(extent) : 'skipped', length: extent.length };
      },
    });
    await base.sync();
  } finally {
    try {
      await overlay.close();
    } finally {
      // Also when it failed: the base has changed, and must not be refused for it.
      if (knowsContent) await noteContent(options.path, overlay.formatName, basePath);
    }
  }
  return { basePath, writtenBytes };
}

/** A VMDK and a cow image know which content their base has, and refuse any other. */
async function noteContent(path: string, formatName: FormatName, basePath: string): Promise<void> {
  await rewriteBacking(path, formatName, async (backing) => {
    if (formatName === 'vmdk') {
      return { ...backing, parentCid: await contentIdOf(basePath), parentCidNext: undefined };
    }
    return { ...backing, stamp: await referenceStampOf(basePath) };
  });
}

/** Until it is told anew, the image takes its parent with either content: also after a kill. */
function noteChange(path: string, from: number, to: number): Promise<void> {
  return rewriteBacking(path, 'vmdk', async (backing) => {
    return { ...backing, parentCid: from, parentCidNext: to };
  });
}

/**
 * Until it is told anew, the image takes its base as it is: also after a kill in the middle. What is
 * answered tells it what it knew.
 */
async function forgetStamp(path: string): Promise<() => Promise<void>> {
  let stamp: ReferenceStamp | undefined;
  await rewriteBacking(path, 'cow', async (backing) => {
    stamp = backing.stamp;
    return { ...backing, stamp: undefined };
  });
  return () => rewriteBacking(path, 'cow', async (backing) => ({ ...backing, stamp }));
}

async function rewriteBacking(
  path: string,
  formatName: FormatName,
  change: (backing: ImageReference) => Promise<ImageReference>,
): Promise<void> {
  const driver = await driverOf(formatName);
  const storage = await openFileStorage(path, { isReadOnly: false, isContainer: true });
  try {
    const { backing } = await driver.info(storage);
    if (backing !== undefined) await driver.rebase?.(storage, await change(backing));
  } finally {
    await storage.close();
  }
}

/** That the image fits on its base is found out as when it is opened to be served. */
async function checkChain({ path, passphrase, ...options }: CommitOptions): Promise<void> {
  const given = { passphrase, backingPassphrase: passphrase };
  const { formatName, allowBacking, backingFormatName, warn } = options;
  const names = { formatName, allowBacking, backingFormatName, warn };
  const chain = await openImage(path, { isReadOnly: true, ...names, ...given });
  await chain.close();
}

/** The image on top for reading, and the one below it, which it closes, for writing. */
async function openForCommit(options: CommitOptions) {
  const { path, formatName = formatNameOf(path), allowBacking = [], passphrase } = options;
  const storage = await openFileStorage(path, { isReadOnly: true, isContainer: true });
  const opened = [storage];
  const gate = new Gate({ allowBacking });
  gate.admit(storage);
  const referrer = { path, depth: 0 };
  try {
    const driver = await driverOf(formatName);
    const { format, backing } = await driver.open(storage, {
      isReadOnly: true,
      tableBytesMax: TABLE_BYTES_DEFAULT,
      openFile: async (reference) => {
        const file = await gate.open(referrer, reference, true);
        opened.push(file.storage);
        return file.storage;
      },
      passphrase,
    });
    if (backing === undefined) {
      throw new TmemError('usage', `"${path}" stands on no other image; there is nothing to do`);
    }
    const below = await gate.open(referrer, backing, true);
    await below.storage.close();
    const base = await openImage(below.path, {
      isReadOnly: false,
      takesAnySize: true,
      formatName: backing.formatName ?? options.backingFormatName,
      allowBacking,
      backingFormatName: options.backingFormatName,
      passphrase,
      backingPassphrase: passphrase,
      ...(formatName === 'vmdk' && {
        onContentChange: (from: number, to: number) => noteChange(path, from, to),
      }),
    });
    // By its name again, but it must be the file that the gate has let through.
    if (base.medium !== below.storage.medium) {
      await base.close();
      throw new TmemError('busy', `"${below.path}" was replaced just now; try again`);
    }
    const { identity, medium } = storage;
    const overlay = new BlockImage({ name: path, identity, medium, format, backing: base });
    return { overlay, base, basePath: below.path };
  } catch (cause) {
    for (const each of opened) await each.close();
    throw cause;
  }
}
