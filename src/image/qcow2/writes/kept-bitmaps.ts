/**
 * Persistent dirty bitmaps while their image is written: those that every writer is to keep up to date
 * are in memory, marked as in use on the storage from before the first write until they are stored.
 * After a crash the mark is still there, and nobody believes them. The others are left as they are,
 * unless the disk gets another size.
 */

import { TmemError } from '../../../lib/errors.ts';
import { settleAll } from '../../../lib/settle-all.ts';
import type { ResizableStorage } from '../../../storage/storage.ts';
import {
  type Bitmap,
  type BitmapDirectory,
  bitmapDirectory,
  readBitmaps,
} from '../structures/bitmaps.ts';
import type { Qcow2Header } from '../structures/header.ts';
import { type BitmapSpace, bitmapBytes, KeptBitmap } from './kept-bitmap.ts';

/** Bits of all bitmaps together; of an image that has more none is kept. */
const BYTES_MAX = 32 << 20;

export class KeptBitmaps {
  readonly directory: BitmapDirectory;
  readonly #storage: ResizableStorage;
  readonly #header: Qcow2Header;
  readonly #kept: KeptBitmap[];
  /** Those that say something, and that nobody keeps up to date. */
  #still: readonly Bitmap[];
  #sizeBytes: number;

  private constructor(
    storage: ResizableStorage,
    header: Qcow2Header,
    directory: BitmapDirectory,
    kept: KeptBitmap[],
    still: readonly Bitmap[],
  ) {
    this.directory = directory;
    this.#storage = storage;
    this.#header = header;
    this.#kept = kept;
    this.#still = still;
    this.#sizeBytes = header.sizeBytes;
  }

  /**
   * Reads the bitmaps that are to be kept up to date. Undefined when there are none in the image, or
   * when they are damaged or too large: then the writer must disown them all.
   */
  static async open(
    storage: ResizableStorage,
    header: Qcow2Header,
  ): Promise<KeptBitmaps | undefined> {
    try {
      const directory = bitmapDirectory(header, storage.name);
      if (directory === undefined) return undefined;
      const all = await readBitmaps(storage, header, directory);
      const usable = all.filter(({ isInUse }) => !isInUse);
      const wanted = usable.filter(({ isAuto }) => isAuto);
      if (bytesOf(header.sizeBytes, wanted) > BYTES_MAX) return undefined;
      const kept: KeptBitmap[] = [];
      for (const bitmap of wanted) {
        const one = await KeptBitmap.read(storage, header, directory.offset, bitmap);
        if (one === undefined) return undefined;
        kept.push(one);
      }
      const still = usable.filter(({ isAuto }) => !isAuto);
      return new KeptBitmaps(storage, header, directory, kept, still);
    } catch (cause) {
      if (cause instanceof TmemError && cause.kind !== 'io') return undefined;
      throw cause;
    }
  }

  /** In memory. */
  get bytes(): number {
    return this.#kept.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  /** Durably marks them as in use: from then on writes may follow. */
  begin(): Promise<void> {
    return this.#mark(this.#kept, true);
  }

  /** The range of the disk is being changed. */
  noteWrite(offset: number, length: number): void {
    if (length === 0) return;
    for (const kept of this.#kept) if (kept.bitmap.isAuto) kept.noteWrite(offset, length);
  }

  /**
   * Before the disk gets that size: all that are not in use are to have it too. Rejects with
   * `unsupported` when one of them cannot.
   */
  async prepareResize(sizeBytes: number): Promise<void> {
    const all = [...this.#kept.map(({ bitmap }) => bitmap), ...this.#still];
    // A bitmap without a table is none, and no other program would open the image.
    if (sizeBytes === 0 && all.length > 0) {
      throw this.#refusal('of a disk of 0 bytes there are no dirty bitmaps');
    }
    if (bytesOf(sizeBytes, all) > BYTES_MAX) {
      throw this.#refusal(`its dirty bitmaps would have more than ${BYTES_MAX >> 20} MiB`);
    }
    const read: KeptBitmap[] = [];
    for (const bitmap of this.#still) {
      const { offset } = this.directory;
      const one = await KeptBitmap.read(this.#storage, this.#header, offset, bitmap);
      if (one === undefined) throw this.#refusal(`its dirty bitmap "${bitmap.name}" is damaged`);
      read.push(one);
    }
    await this.#mark(read, true);
    this.#kept.push(...read);
    this.#still = [];
  }

  /** Gives them the length of a disk of that size; what is new of it is not dirty. */
  async resize(sizeBytes: number, space: BitmapSpace): Promise<void> {
    if (sizeBytes === this.#sizeBytes) return;
    // Also when one of them fails: then the others have that length, and are to have another.
    this.#sizeBytes = sizeBytes;
    await settleAll(this.#kept.map((kept) => kept.resize(sizeBytes, space)));
  }

  /** Stores what changed, and takes the mark away when it is durable: no write may follow. */
  async store(space: BitmapSpace): Promise<void> {
    if (this.#kept.length === 0) return;
    for (const kept of this.#kept) await kept.storeBits(space);
    await space.sync();
    let hasTables = false;
    for (const kept of this.#kept) if (await kept.storeTable()) hasTables = true;
    if (hasTables) await this.#storage.sync();
    await this.#mark(this.#kept, false);
  }

  async #mark(bitmaps: readonly KeptBitmap[], isInUse: boolean): Promise<void> {
    for (const kept of bitmaps) await kept.mark(isInUse);
    if (bitmaps.length > 0) await this.#storage.sync();
  }

  #refusal(cause: string): TmemError {
    const advice = 'remove what is not needed of them with "qemu-img bitmap --remove"';
    const message = `"${this.#storage.name}" keeps its size: ${cause}; ${advice}`;
    return new TmemError('unsupported', message);
  }
}

/** Of the bits of all these bitmaps. */
function bytesOf(sizeBytes: number, bitmaps: readonly Bitmap[]): number {
  return bitmaps.reduce((sum, bitmap) => sum + bitmapBytes(sizeBytes, bitmap), 0);
}
