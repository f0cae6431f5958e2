/** Opening an image with all that it stands on; every file that an image names goes through the gate. */

import { TmemError } from '../lib/errors.ts';
import { type FileStorage, openFileStorage } from '../storage/file.ts';
import { TABLE_BYTES_DEFAULT } from './data/image-memory.ts';
import {
  type FormatName,
  type ImageReference,
  type OpenedFormat,
  type OpenOptions,
  SECTOR_BYTES,
} from './format.ts';
import { driverOf, formatNameOf, looksLike, warnOfContent } from './formats.ts';
import { type AdmittedFile, Gate, openHere, type Referrer } from './gate.ts';
import { BlockImage } from './image.ts';

export interface OpenImageOptions {
  readonly isReadOnly: boolean;
  /** Images that are to stand on it in a row: they count for what a chain may have. Default 0. */
  readonly overlayCount?: number | undefined;
  /** A raw file may have any size, none too: zeros fill its last sector. Default false. */
  readonly takesAnySize?: boolean | undefined;
  /** By default what the file's name stands for; see `formatNameOf`. */
  readonly formatName?: FormatName | undefined;
  /** Directories, besides that of an image, in which files that it names may be; default none. */
  readonly allowBacking?: readonly string[] | undefined;
  /** The format of backing files where the image on them does not say it. */
  readonly backingFormatName?: FormatName | undefined;
  /** Of the image on top alone. */
  readonly passphrase?: Buffer | undefined;
  /** Of all images below it. */
  readonly backingPassphrase?: Buffer | undefined;
  /** Which internal snapshot of the image on top to open, by name or id. */
  readonly snapshot?: string | undefined;
  /** Of the image on top; see `OpenOptions`. */
  readonly onContentChange?: OpenOptions['onContentChange'];
  readonly wantsDirect?: boolean | undefined;
  /** Bytes of tables that may be in memory, for each image of the chain. */
  readonly tableBytesMax?: number | undefined;
  /** Besides these, for each image of the chain; see `OpenOptions`. */
  readonly pinnedBytesMax?: number | undefined;
  /** Hears of what is not wrong, but may not be what was meant. */
  readonly warn?: ((message: string) => void) | undefined;
}

/**
 * Opens the image at `path` and those below it, which are never written. Rejects with a TmemError
 * when any of them cannot be opened; then none is open.
 */
export async function openImage(path: string, options: OpenImageOptions): Promise<BlockImage> {
  const formatName = options.formatName ?? formatNameOf(path);
  const { isReadOnly, wantsDirect, allowBacking = [], overlayCount = 0 } = options;
  const isRaw = formatName === 'raw';
  const isContainer = !isRaw || options.takesAnySize === true;
  // A qcow2 image counts what is in use; others take the end of the file for that after a crash.
  const growsAhead = formatName === 'qcow2';
  const opening = openFileStorage(path, { isReadOnly, wantsDirect, isContainer, growsAhead });
  const storage = await (options.formatName === undefined && !isContainer
    ? opening.catch((cause: unknown) => refuseGuess(path, cause))
    : opening);
  try {
    if (storage.isOpenHere && !isRaw) throw openHere(path);
    if (options.formatName === undefined && isRaw) await refuseOtherSize(storage, path);
    if (options.formatName === undefined) await warnOfContent(storage, formatName, options);
  } catch (cause) {
    await storage.close();
    throw cause;
  }
  const gate = new Gate({ allowBacking, wantsDirect });
  gate.admit(storage);
  return new ChainOpening(gate, options).open(storage, formatName, { path, depth: overlayCount });
}

/** A file that cannot be raw may have been meant for something else. */
async function refuseGuess(path: string, cause: unknown): Promise<never> {
  if (!(cause instanceof TmemError) || cause.context.sizeBytes === undefined) throw cause;
  const storage = await openFileStorage(path, { isReadOnly: true, isContainer: true });
  await refuseOtherSize(storage, path, cause).finally(() => storage.close());
  throw cause;
}

/** Throws where the file has another size than disks have, and begins as an image does. */
async function refuseOtherSize(storage: FileStorage, path: string, cause?: unknown): Promise<void> {
  if (storage.sizeBytes % SECTOR_BYTES === 0) return;
  const other = await looksLike(storage);
  if (other === undefined) return;
  const advice = `it begins as a ${other} image does: say so with --format ${other} if it is one`;
  throw new TmemError('usage', `"${path}" is no raw disk, by its size; ${advice}`, { cause });
}

/** The images of one chain, from the top down. */
class ChainOpening {
  readonly #gate: Gate;
  readonly #options: OpenImageOptions;

  constructor(gate: Gate, options: OpenImageOptions) {
    this.#gate = gate;
    this.#options = options;
  }

  /** Opens the image on `storage`, which is closed if that fails, and all below it. */
  async open(
    storage: FileStorage,
    formatName: FormatName,
    referrer: Referrer,
  ): Promise<BlockImage> {
    const files = [storage];
    let opened: OpenedFormat | undefined;
    try {
      opened = await this.#openFormat(files, formatName, referrer);
      const { format } = opened;
      const backing = opened.backing && (await this.#openBacking(opened.backing, referrer));
      return new BlockImage({
        name: storage.name,
        identity: this.#identityOf(files, formatName, referrer, backing),
        medium: storage.medium,
        isLocked: files.every((file) => file.isLocked),
        files,
        format,
        backing,
        tableBytesMax: this.#options.tableBytesMax,
      });
    } catch (cause) {
      // What failed is to be heard of, not what follows from it.
      await opened?.format.close?.().catch(() => undefined);
      await Promise.allSettled(files.map((file) => file.close()));
      throw cause;
    }
  }

  async #openFormat(
    files: FileStorage[],
    formatName: FormatName,
    referrer: Referrer,
  ): Promise<OpenedFormat> {
    const [storage] = files;
    if (storage === undefined) throw new Error('an image has a file');
    const driver = await driverOf(formatName);
    const isTop = this.#isTop(referrer);
    const { isReadOnly } = storage;
    const { passphrase, backingPassphrase, snapshot, onContentChange } = this.#options;
    return driver.open(storage, {
      isReadOnly,
      tableBytesMax: this.#options.tableBytesMax ?? TABLE_BYTES_DEFAULT,
      pinnedBytesMax: this.#options.pinnedBytesMax,
      openFile: async (reference) => {
        const file = await this.#gate.open(referrer, reference, isReadOnly);
        files.push(file.storage);
        return file.storage;
      },
      passphrase: isTop ? passphrase : backingPassphrase,
      snapshot: isTop ? snapshot : undefined,
      ...(isTop && onContentChange !== undefined && { onContentChange }),
    });
  }

  async #openBacking(reference: ImageReference, referrer: Referrer): Promise<BlockImage> {
    const formatName = reference.formatName ?? this.#options.backingFormatName;
    if (formatName === undefined) throw formatMissing(referrer, reference);
    const file = await this.#gate.open(referrer, reference, true);
    try {
      checkIsUnchanged(file, reference, referrer);
      if (reference.formatName === undefined) {
        await warnOfContent(file.storage, formatName, this.#options);
      }
      if (reference.parentCid !== undefined) await checkCid(file, reference, referrer);
    } catch (cause) {
      await file.storage.close();
      throw cause;
    }
    const below = { path: file.path, depth: referrer.depth + 1 };
    return this.open(file.storage, formatName, below);
  }

  /** A raw image alone is its file; any other content follows from more than the bytes of one. */
  #identityOf(
    files: readonly FileStorage[],
    formatName: FormatName,
    referrer: Referrer,
    backing: BlockImage | undefined,
  ): string {
    const own = files.map(({ identity }) => identity).join('+');
    if (formatName === 'raw') return own;
    const { snapshot } = this.#options;
    const at =
      this.#isTop(referrer) && snapshot !== undefined ? `@${JSON.stringify(snapshot)}` : '';
    const on = backing === undefined ? '' : `/${backing.identity}`;
    return `${formatName}:${own}${at}${on}`;
  }

  /** Whether it is the one that the operator named. */
  #isTop({ depth }: Referrer): boolean {
    return depth === (this.#options.overlayCount ?? 0);
  }
}

function formatMissing({ path }: Referrer, { role, name }: ImageReference): TmemError {
  const shown = JSON.stringify(name.slice(0, 80));
  const message = `"${path}" does not say of which format the ${role} ${shown} is`;
  // qcow has no place for it, and QED for "raw" alone.
  const advice =
    'say it with --backing-format; a qcow2 image keeps it after tmem image rebase --unsafe';
  return new TmemError('usage', `${message}; ${advice}`, { context: { path, role } });
}

function checkIsUnchanged(
  { storage, path, changedAtMs }: AdmittedFile,
  { stamp }: ImageReference,
  referrer: Referrer,
): void {
  if (stamp === undefined) return;
  if (stamp.sizeBytes === storage.sizeBytes && stamp.changedAtMs === changedAtMs) return;
  const advice = `bring back the base as it was, or make "${referrer.path}" anew`;
  throw new TmemError(
    'invalid',
    `"${path}" has changed since "${referrer.path}" was made on it, whose content is lost; ${advice}`,
    { context: { path: referrer.path, base: path } },
  );
}

/** A parent that was written to since says another number of itself. */
async function checkCid(
  { storage, path }: AdmittedFile,
  { parentCid, parentCidNext }: ImageReference,
  referrer: Referrer,
): Promise<void> {
  const { details } = await (await driverOf('vmdk')).info(storage);
  const wanted = hexOf(parentCid);
  if (details.cid === wanted) return;
  if (parentCidNext !== undefined && details.cid === hexOf(parentCidNext)) return;
  const advice = 'bring back the parent as it was';
  throw new TmemError(
    'invalid',
    `"${referrer.path}" was made on a parent of CID ${wanted}, and "${path}" has ` +
      `${details.cid}; ${advice}`,
    { context: { path: referrer.path, parent: path } },
  );
}

function hexOf(cid: number | undefined): string {
  return (cid ?? 0).toString(16).padStart(8, '0');
}
