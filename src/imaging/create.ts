/** Making images: the empty ones, and those that something else is then written into. */

import { dirname } from 'node:path';
import { TABLE_BYTES_DEFAULT } from '../image/data/image-memory.ts';
import { type FormatName, SECTOR_BYTES } from '../image/format.ts';
import { driverOf } from '../image/formats.ts';
import { checkMayBeNamed } from '../image/gate.ts';
import { BlockImage } from '../image/image.ts';
import { TmemError } from '../lib/errors.ts';
import { roundUp } from '../lib/round-up.ts';
import type { OpenBase } from './base-image.ts';
import { TargetFiles } from './target/target-file.ts';
import type { UnplacedFile } from './target/unplaced-file.ts';

/** A wish for a new image in files. */
export interface NewImageWish {
  /** From the root. */
  readonly path: string;
  readonly formatName: FormatName;
  /** Rounded up to whole sectors of 512 bytes. */
  readonly sizeBytes: number;
  /** As `-o name=value` says them; what there is depends on the format. */
  readonly settings?: Readonly<Record<string, string>> | undefined;
  /** What it stands on; stays the caller's until `NewImage.open`. */
  readonly base?: OpenBase | undefined;
  readonly passphrase?: Buffer | undefined;
  /** Replaces a file at `path`. Default false. */
  readonly isForced?: boolean | undefined;
  /** See `TargetOptions`. Default true. */
  readonly isDurable?: boolean | undefined;
}

/** An image that is there, but not under its name until `finish`. */
export class NewImage {
  readonly #wish: NewImageWish;
  readonly #files: TargetFiles;
  readonly #storage: UnplacedFile;

  private constructor(wish: NewImageWish, files: TargetFiles, storage: UnplacedFile) {
    this.#wish = wish;
    this.#files = files;
    this.#storage = storage;
  }

  /** Of the disk: whole sectors. */
  get sizeBytes(): number {
    return this.#wish.sizeBytes;
  }

  /** Of the file that has its name; others may be beside it. */
  get fileBytes(): number {
    return this.#storage.sizeBytes;
  }

  /** Makes it, empty. After a rejection nothing of it is left. */
  static async begin(wish: NewImageWish): Promise<NewImage> {
    const { path, formatName, base, settings = {}, passphrase } = wish;
    const { isForced = false, isDurable = true } = wish;
    const sizeBytes = roundUp(wish.sizeBytes, SECTOR_BYTES);
    const driver = await driverOf(formatName);
    if (driver.create === undefined) {
      throw new TmemError('unsupported', `cannot make ${formatName} images; take another format`);
    }
    const files = await TargetFiles.begin(path, { isForced, isDurable });
    try {
      const storage = await files.create(files.name);
      await driver.create(storage, {
        sizeBytes,
        fileName: files.name,
        backing: base?.reference,
        settings,
        createFile: (name) => {
          checkMayBeNamed(name);
          return files.create(name);
        },
        passphrase,
      });
      return new NewImage({ ...wish, sizeBytes }, files, storage);
    } catch (cause) {
      await files.abandon();
      throw ofWish(path, files.named(cause));
    }
  }

  /**
   * Opens it for writing, once, the base with it, which is closed when that fails; it must be closed
   * before `finish`.
   */
  async open(): Promise<BlockImage> {
    const { path, formatName, passphrase, base } = this.#wish;
    const { identity, medium } = this.#storage;
    try {
      const driver = await driverOf(formatName);
      const { format } = await driver.open(this.#storage, {
        ...{ isReadOnly: false, isUnplaced: true },
        tableBytesMax: TABLE_BYTES_DEFAULT,
        openFile: (reference) => this.#files.open(reference.name),
        passphrase,
      });
      return new BlockImage({ name: path, identity, medium, format, backing: base?.image });
    } catch (cause) {
      await base?.image.close();
      throw cause;
    }
  }

  /** Puts it in its place. After a rejection nothing of it is left. */
  finish(): Promise<void> {
    return this.#files.finish();
  }

  /** Removes it; answers the reason, as it is to be told. */
  async abandon(cause: unknown): Promise<unknown> {
    await this.#files.abandon();
    return this.#files.named(cause);
  }
}

/** A format refuses a wish in words of its own, and does not know of which file that is. */
function ofWish(path: string, cause: unknown): unknown {
  if (!(cause instanceof TmemError) || cause.kind !== 'usage') return cause;
  if (cause.message.includes(dirname(path))) return cause;
  const { kind, context, message } = cause;
  return new TmemError(kind, `cannot make "${path}": ${message}`, { context, cause });
}

/** Nothing could be written to it any more. */
function emptyStream({ path }: NewImageWish): TmemError {
  const advice = 'make it with tmem image convert, or choose another subformat';
  const message = `cannot make "${path}": a stream is written once, with all that is in it`;
  return new TmemError('usage', `${message}; ${advice}`, { context: { path } });
}

/** Makes an empty image, and answers the size of its disk; the base is closed by it. */
export async function createImage(wish: NewImageWish): Promise<number> {
  try {
    const driver = await driverOf(wish.formatName);
    if (driver.isStream?.(wish.settings ?? {})) throw emptyStream(wish);
    const image = await NewImage.begin(wish);
    await image.finish();
    return image.sizeBytes;
  } finally {
    await wish.base?.image.close();
  }
}
