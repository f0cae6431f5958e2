/**
 * Saves the clean pages of images, encoded as they are held, in slices between which everything else
 * goes on.
 *
 * The stamp of an image is taken before its first page and again behind its last one. Whatever is
 * changed after the first makes the image's file differ from it, so that none of its pages will be
 * used; the second one tells that already now. An image that keeps tables in memory writes them before
 * either: a page whose place is not in the file yet makes it differ, too.
 */

import { createHash, randomBytes } from 'node:crypto';
import { open } from 'node:fs/promises';
import { TmemError } from '../lib/errors.ts';
import { inTime } from '../lib/in-time.ts';
import {
  type FileStamp,
  isSameStamp,
  settledStamp,
  syncFile,
  trustedStamp,
} from '../storage/file-stamp.ts';
import { type Cleancache, PAGES_PER_OBJECT } from '../tmem/cleancache.ts';
import { createEncodedPage } from '../tmem/layer.ts';
import { BLOCK_BYTES, encodeHead, headFailure, layoutOf, readHead } from './head.ts';
import { encodeImageTable, IMAGE_COUNT_MAX, type SavedImage } from './image-table.ts';
import { type CreateFile, Replacement, regularFileSize, writeFailure } from './replacement.ts';
import { ID_BYTES, SEGMENT_BYTES, SegmentWriter } from './segment.ts';
import { Slices, type Turns } from './slices.ts';
import { readBootId, type UseMark } from './use-mark.ts';

/** How long an image of a stopped service may take to be brought to the disk, milliseconds. */
const STAMP_MS_MAX = 10_000;

/** An image whose clean pages are saved and loaded. */
export interface SnapshotImage {
  /** For people. */
  readonly name: string;
  /** Where the image's file is. */
  readonly path: string;
  /** What the open image says that it is; a path may have been given to another file. */
  readonly medium: string;
  /** As what the file is read, where that is not its bytes: pages of it are others. */
  readonly reading?: string | undefined;
  /** Of the disk that the file holds; by default that of the file. */
  readonly diskBytes?: number | undefined;
  /** Has the image write what it keeps in memory of its own tables; where it keeps some. */
  readonly settle?: (() => Promise<void>) | undefined;
  readonly cache: Cleancache;
  /**
   * False once a sync of the image has failed: the system then forgets what it could not write, so
   * that what is cached need not be what is on the disk. By default it is always sound.
   */
  readonly isSound?: (() => boolean) | undefined;
  /**
   * Of an image that this service only reads: whether its file is as it was before the first page
   * was read. If not, another program has changed it, and what is cached may be older.
   */
  readonly isAsOpened?: ((stamp: FileStamp) => boolean) | undefined;
}

export interface SaveOptions {
  /** The snapshot; an older one is replaced when the new one is complete. */
  readonly path: string;
  /** Bytes of a page, of every image. */
  readonly pageBytes: number;
  /** Each medium, as what it is read, once; those that cannot be vouched for are left out. */
  readonly images: readonly SnapshotImage[];
  /**
   * The service has stopped, and changes its images no more: they are brought to the disk with their
   * times, and the snapshot outlives a boot of the machine. Otherwise it is good for this boot.
   */
  readonly isStopped: boolean;
  /** Ends the saving; the old snapshot stays. */
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((done: SaveProgress) => void) | undefined;
  readonly turns?: Turns | undefined;
  readonly createFile?: CreateFile | undefined;
  readonly stamp?: ((path: string) => Promise<FileStamp | undefined>) | undefined;
}

export interface SaveProgress {
  readonly pages: number;
  /** Of the snapshot so far. */
  readonly bytes: number;
}

export interface SaveResult extends SaveProgress {
  /** Names of the images that were left out: block devices, and what was being written. */
  readonly leftOut: readonly string[];
  /** Names of the images that were changed meanwhile: their pages will not be used. */
  readonly changed: readonly string[];
}

/**
 * Saves the snapshot. Rejects with a TmemError when it cannot be written, when there is something at
 * `path` that is no snapshot of this version, and with `shutdown` when the signal ended it; then what
 * was at `path` is there as it was.
 */
export async function saveSnapshot(options: SaveOptions): Promise<SaveResult> {
  await checkReplaceable(options.path);
  const { stampable, leftOut } = await stampImages(options);
  const bootId = options.isStopped ? '' : await readBootId();
  const file = await Replacement.begin(options.path, options.createFile);
  try {
    const mark = { isClean: options.isStopped, bootId };
    const saving = new Saving(options, file, stampable, mark);
    const done = await saving.run();
    await file.commit();
    return { ...done, leftOut };
  } finally {
    await file.abandon();
  }
}

/** Rejects with a TmemError when what is at `path` must not be overwritten. */
async function checkReplaceable(path: string): Promise<void> {
  const sizeBytes = await regularFileSize(path);
  if (sizeBytes === undefined || sizeBytes === 0) return;
  const found = await readHeadAt(path, sizeBytes).catch((cause: unknown) => {
    throw writeFailure(path, cause);
  });
  if (found === 'foreign' || found === 'version') throw headFailure(path, found);
}

async function readHeadAt(path: string, sizeBytes: number): ReturnType<typeof readHead> {
  const handle = await open(path, 'r');
  try {
    return await readHead(handle, sizeBytes);
  } finally {
    await handle.close();
  }
}

interface Stamped {
  readonly image: SnapshotImage;
  readonly saved: SavedImage;
}

async function stampImages(
  options: SaveOptions,
): Promise<{ stampable: readonly Stamped[]; leftOut: readonly string[] }> {
  const { images, pageBytes, isStopped, stamp: stampOf = settledStamp } = options;
  if (images.some(({ cache }) => cache.pageBytes !== pageBytes)) {
    throw new TmemError('usage', `all images of a snapshot have pages of ${pageBytes} bytes`);
  }
  if (images.length > IMAGE_COUNT_MAX) {
    throw new TmemError('usage', `a snapshot has at most ${IMAGE_COUNT_MAX} images`);
  }
  const stampable: Stamped[] = [];
  const leftOut: string[] = [];
  // Side by side: images that hang do so at the same time.
  const stamping = Promise.all(images.map((image) => stampOne(image, isStopped, stampOf)));
  const stamps = await unlessEnded(stamping, options);
  for (const [i, image] of images.entries()) {
    const stamp = stamps[i];
    if (stamp === undefined) leftOut.push(image.name);
    else {
      const saved = { name: image.name, stamp, pages: 0, firstSegment: 0, endSegment: 0 };
      stampable.push({ image, saved });
    }
  }
  return { stampable, leftOut };
}

/** The stamp of a file that is read as something else than its bytes. */
export function stampAs(stamp: FileStamp, reading: string | undefined): FileStamp {
  if (reading === undefined) return stamp;
  const hash = createHash('sha256').update(reading).digest('hex').slice(0, 32);
  return { ...stamp, medium: `${stamp.medium}:${hash}` };
}

/** A file that is gone, or on a disk that hangs, vouches for nothing. */
async function stampOne(
  image: SnapshotImage,
  isStopped: boolean,
  stampOf: (path: string) => Promise<FileStamp | undefined>,
): Promise<FileStamp | undefined> {
  const stamping = stampFresh(image, isStopped, stampOf);
  try {
    // While it is served there is no hurry, and its sync may take long.
    return await (isStopped ? inTime(stamping, STAMP_MS_MAX, `"${image.name}"`) : stamping);
  } catch (cause) {
    if (cause instanceof TmemError) return undefined;
    throw cause;
  }
}

async function stampFresh(
  { path, medium, reading, isSound, isAsOpened, settle }: SnapshotImage,
  isStopped: boolean,
  stampOf: (path: string) => Promise<FileStamp | undefined>,
): Promise<FileStamp | undefined> {
  if (!isStopped) await settle?.();
  const stamp = isSound?.() === false ? undefined : await stampOf(path);
  if (stamp?.medium !== medium || isAsOpened?.(stamp) === false) return undefined;
  if (isStopped) await syncFile(path);
  return stampAs(stamp, reading);
}

/** One run of saving. */
class Saving {
  readonly #options: SaveOptions;
  readonly #file: Replacement;
  readonly #images: readonly Stamped[];
  readonly #mark: UseMark;
  readonly #id = randomBytes(ID_BYTES);
  readonly #writer: SegmentWriter;
  readonly #slices: Slices;
  readonly #page = createEncodedPage();
  readonly #segmentsAt: number;
  #segment = 0;
  #pages = 0;

  constructor(options: SaveOptions, file: Replacement, images: readonly Stamped[], mark: UseMark) {
    this.#options = options;
    this.#file = file;
    this.#images = images;
    this.#mark = mark;
    this.#writer = new SegmentWriter(Buffer.alloc(SEGMENT_BYTES), this.#id);
    this.#slices = new Slices(options.turns);
    const table = encodeImageTable(images.map(({ saved }) => saved));
    this.#segmentsAt = layoutOf(table.length, 0).segmentsAt;
  }

  async run(): Promise<SaveProgress & { changed: readonly string[] }> {
    for (const [number, { image, saved }] of this.#images.entries()) {
      saved.firstSegment = this.#segment;
      await this.#saveImage(number, image.cache, saved);
      saved.endSegment = this.#segment + (this.#writer.count > 0 ? 1 : 0);
    }
    if (this.#writer.count > 0) await this.#writeSegment();
    await this.#settle();
    const bytes = await this.#writeHeads();
    return { pages: this.#pages, bytes, changed: await this.#changedImages() };
  }

  async #saveImage(number: number, cache: Cleancache, saved: SavedImage): Promise<void> {
    const { pool } = cache;
    for (const object of pool.objects()) {
      for (const index of pool.indexesOf(object)) {
        if (this.#slices.isOver) await this.#pause();
        const page = object * PAGES_PER_OBJECT + index;
        // It may be gone by now; and writing a segment takes its time, so that it is looked up again.
        if (!pool.peek(object, index, this.#page)) continue;
        if (!this.#writer.add(number, page, this.#page)) {
          await this.#writeSegment();
          if (!pool.peek(object, index, this.#page)) continue;
          if (!this.#writer.add(number, page, this.#page)) {
            throw new Error('snapshot: a page finds no room in an empty segment');
          }
        }
        saved.pages++;
        this.#pages++;
      }
    }
  }

  /**
   * A page may have been saved of which the tables in the file knew nothing yet. Now they do, which
   * shows in the stamp.
   */
  async #settle(): Promise<void> {
    if (this.#options.isStopped) return;
    const settling = Promise.all(this.#images.map(({ image }) => image.settle?.()));
    await unlessEnded(settling, this.#options);
  }

  async #pause(): Promise<void> {
    await this.#slices.next();
    this.#checkGoesOn();
  }

  #checkGoesOn(): void {
    if (this.#options.signal?.aborted) throw endedFailure(this.#options);
  }

  async #writeSegment(): Promise<void> {
    this.#writer.finish();
    await this.#file.write(this.#writer.buffer, this.#segmentsAt + this.#segment * SEGMENT_BYTES);
    this.#segment++;
    this.#writer.begin(this.#segment);
    this.#slices.restart();
    this.#checkGoesOn();
    this.#options.onProgress?.({
      pages: this.#pages,
      bytes: this.#segmentsAt + this.#segment * SEGMENT_BYTES,
    });
  }

  /** Writes both heads, and answers how long the file is. */
  async #writeHeads(): Promise<number> {
    const { block, table } = encodeHead({
      id: this.#id,
      pageBytes: this.#options.pageBytes,
      segmentCount: this.#segment,
      createdMs: Date.now(),
      images: this.#images.map(({ saved }) => saved),
      mark: this.#mark,
    });
    const layout = layoutOf(table.length, this.#segment);
    await this.#file.write(table, layout.tailTableAt);
    await this.#file.write(block, layout.tailBlockAt);
    await this.#file.write(table, BLOCK_BYTES);
    await this.#file.write(block, 0);
    return layout.tailBlockAt + BLOCK_BYTES;
  }

  async #changedImages(): Promise<readonly string[]> {
    const { stamp = trustedStamp } = this.#options;
    const changed = await Promise.all(
      this.#images.map(async ({ image: { path, name, reading }, saved }) => {
        const now = await inTime(stamp(path), STAMP_MS_MAX, `"${name}"`).catch(() => undefined);
        const isSame = now !== undefined && isSameStamp(stampAs(now, reading), saved.stamp);
        return isSame ? [] : [name];
      }),
    );
    return changed.flat();
  }
}

function endedFailure({ path }: SaveOptions): TmemError {
  const sentence = `saving the cache to "${path}" was ended before it was done`;
  return new TmemError('shutdown', sentence, { context: { path } });
}

/** The result of `work`, which may hang on an image; rejects when the signal ends the saving. */
async function unlessEnded<Result>(work: Promise<Result>, options: SaveOptions): Promise<Result> {
  const { signal } = options;
  if (signal === undefined) return work;
  let onAbort = (): void => undefined;
  const ended = new Promise<never>((_, reject) => {
    onAbort = () => reject(endedFailure(options));
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
  });
  try {
    return await Promise.race([work, ended]);
  } finally {
    signal.removeEventListener('abort', onAbort);
    work.catch(() => undefined); // nobody waits for it any more
  }
}
