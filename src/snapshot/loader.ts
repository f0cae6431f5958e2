/**
 * Loads a snapshot into the clean pages of the images that are served, behind the back of those who
 * read them: nobody waits for it. A page is put only where nothing is known of it yet. One that was
 * changed since the start is left alone, and loading ends when the memory is nearly full: what the
 * service has learnt is worth more than what the last one knew.
 */

import { constants, type FileHandle, open } from 'node:fs/promises';
import { kindOfSystemError, systemErrorCode, TmemError } from '../lib/errors.ts';
import { isSameStamp, trustedStamp } from '../storage/file-stamp.ts';
import { isRefused } from '../tmem/layer.ts';
import type { Tmem } from '../tmem/tmem.ts';
import { ChangedPages } from './changed-pages.ts';
import { type FoundHead, headFailure, readHead } from './head.ts';
import type { SavedImage } from './image-table.ts';
import { removeLeftovers } from './replacement.ts';
import { Room } from './room.ts';
import { type SnapshotImage, stampAs } from './save.ts';
import { PAGE_FOUND, SEGMENT_BYTES, SEGMENT_END, SegmentReader } from './segment.ts';
import { Slices, type Turns } from './slices.ts';
import { encodeMark, isBelievable, readBootId } from './use-mark.ts';

export interface LoaderOptions {
  readonly path: string;
  /** Bytes of a page, of every image and of the snapshot. */
  readonly pageBytes: number;
  /** Images by number; see `SaveOptions`. */
  readonly images: readonly SnapshotImage[];
  /** The stack that the images' caches are on: its evictions say that memory is full. */
  readonly tmem: Tmem;
  /** Hears in a sentence what became of the snapshot, if there is one: `warn` of what is lost. */
  readonly log: { info(message: string): void; warn(message: string): void };
  readonly turns?: Turns | undefined;
  readonly bootId?: string | undefined;
}

/**
 * `loading` until the last page was looked at: then `done`; `full` when memory got short before, or
 * the stack was frozen; `stopped` by `stop`. `cold` when there is nothing that can be used.
 */
export type LoaderState = 'new' | 'loading' | 'done' | 'full' | 'stopped' | 'cold';

/** Pages by what became of them; plain fields, copied at scrape time. */
export interface LoaderStatistics {
  loaded: number;
  /** Encoded bytes of those. */
  bytes: number;
  /** In the cache already. */
  skippedPresent: number;
  /** Changed since the start. */
  skippedChanged: number;
  /** More than the cap of their image allows. */
  skippedAtCap: number;
  /** Of images that are not served, or that have changed since they were saved. */
  skippedStale: number;
  /** Damaged or cut off; all are known only when loading is done. */
  skippedDamaged: number;
}

/** An image of the snapshot that is served unchanged. */
interface Loadable {
  readonly saved: SavedImage;
  readonly image: SnapshotImage;
  readonly pageCount: number;
  readonly changed: ChangedPages;
}

interface FoundSnapshot extends FoundHead {
  readonly readableSegments: number;
}

export class SnapshotLoader {
  readonly statistics: LoaderStatistics = {
    loaded: 0,
    bytes: 0,
    skippedPresent: 0,
    skippedChanged: 0,
    skippedAtCap: 0,
    skippedStale: 0,
    skippedDamaged: 0,
  };
  readonly #options: LoaderOptions;
  /** By the image's number in the snapshot. */
  #loadable: readonly (Loadable | undefined)[] = [];
  /** By the image's number in the options; empty when nothing is loaded (any more). */
  #changed: readonly (ChangedPages | undefined)[] = [];
  #state: LoaderState = 'new';
  #finished: Promise<void> = Promise.resolve();

  constructor(options: LoaderOptions) {
    this.#options = options;
  }

  get state(): LoaderState {
    return this.#state;
  }

  /** Resolves when the last page was put, or loading ended before; never rejects. */
  get finished(): Promise<void> {
    return this.#finished;
  }

  /**
   * Looks at the snapshot, marks it as in use and begins to load it. To be awaited before the first
   * change of an image, and before clients are let in: it is a matter of milliseconds. A snapshot
   * that cannot be used is a sentence in the log, not a failure.
   */
  async start(): Promise<void> {
    const { path, log } = this.#options;
    this.#state = 'cold';
    try {
      await removeLeftovers(path, false).catch(() => undefined); // the next saving tells why not
      const handle = await openSnapshot(path);
      if (handle === undefined) return;
      try {
        const found = await this.#look(handle);
        this.#state = 'loading';
        this.#finished = this.#load(handle, found);
      } catch (cause) {
        await handle.close();
        throw cause;
      }
    } catch (cause) {
      log.warn(`${useFailure(path, cause).message}; the cache starts empty`);
    }
  }

  /** Ends loading soon; `finished` tells when. */
  stop(): void {
    if (this.#state === 'loading') this.#state = 'stopped';
  }

  /**
   * Notes that pages of the image of that number, `[first, first + count)`, are about to be written,
   * zeroed or trimmed, wherever that is kept: what the snapshot has of them is old from now on.
   */
  noteChange(image: number, first: number, count: number): void {
    this.#changed[image]?.note(first, count);
  }

  /** Finds out whether anything in the snapshot can be used, and claims it if so. */
  async #look(handle: FileHandle): Promise<FoundSnapshot> {
    const { path, pageBytes } = this.#options;
    const { size } = await handle.stat();
    const found = await readHead(handle, size);
    if (typeof found === 'string') throw headFailure(path, found);
    const { head } = found;
    const refuse = (why: string) =>
      new TmemError('invalid', `cannot use the snapshot "${path}": ${why}`, { context: { path } });
    const bootId = this.#options.bootId ?? (await readBootId());
    if (head.pageBytes !== pageBytes) {
      await markAsUsed(handle, found, bootId); // the images will change all the same
      throw refuse(`its pages have ${head.pageBytes} bytes, and those of the service ${pageBytes}`);
    }
    if (!isBelievable(head.mark, bootId)) {
      throw refuse('the machine was booted since, and the service had not been stopped before');
    }
    await this.#match(head.images);
    await markAsUsed(handle, found, bootId);
    if (this.#changed.every((each) => each === undefined)) {
      throw refuse('no image that is served is in it unchanged');
    }
    // What is cut off need not be looked for.
    const there = Math.ceil((size - found.layout.segmentsAt) / SEGMENT_BYTES);
    return { ...found, readableSegments: Math.max(0, Math.min(head.segmentCount, there)) };
  }

  /** Which images of the snapshot are served, and are what they were. */
  async #match(saved: readonly SavedImage[]): Promise<void> {
    const { images, pageBytes } = this.#options;
    const loadable: (Loadable | undefined)[] = saved.map(() => undefined);
    const changed: (ChangedPages | undefined)[] = images.map(() => undefined);
    for (const [number, image] of images.entries()) {
      const found = await trustedStamp(image.path);
      if (found?.medium !== image.medium) continue;
      const stamp = stampAs(found, image.reading);
      const at = saved.findIndex((each) => isSameStamp(each.stamp, stamp));
      const entry = saved[at];
      if (entry === undefined) continue;
      const pageCount = Math.ceil((image.diskBytes ?? stamp.sizeBytes) / pageBytes);
      const notes = new ChangedPages(pageCount);
      changed[number] = notes;
      loadable[at] = { saved: entry, image, pageCount, changed: notes };
    }
    for (const [number, each] of saved.entries()) {
      if (loadable[number] === undefined) this.statistics.skippedStale += each.pages;
    }
    this.#loadable = loadable;
    this.#changed = changed;
  }

  async #load(handle: FileHandle, found: FoundSnapshot): Promise<void> {
    const { path, log } = this.#options;
    try {
      const seen = await this.#loadSegments(handle, found);
      if (this.#state === 'loading') {
        this.#state = 'done';
        this.statistics.skippedDamaged = this.#expected - seen;
      }
      if (this.statistics.skippedDamaged > 0) log.warn(this.#summary());
      else log.info(this.#summary());
    } catch (cause) {
      this.#state = 'stopped';
      log.warn(`loading the snapshot "${path}" ended early: ${String(cause)}`);
    } finally {
      this.#changed = [];
      this.#loadable = [];
      await handle.close().catch(() => undefined); // it was only read: nothing is lost
    }
  }

  /** Pages of the images that can be loaded. */
  get #expected(): number {
    return this.#loadable.reduce((sum, each) => sum + (each?.saved.pages ?? 0), 0);
  }

  /** Goes through the segments; answers how many good pages of loadable images it came past. */
  async #loadSegments(handle: FileHandle, found: FoundSnapshot): Promise<number> {
    const { head, layout } = found;
    const reader = new SegmentReader(Buffer.alloc(SEGMENT_BYTES), head.id, head.pageBytes);
    const slices = new Slices(this.#options.turns);
    const room = new Room(this.#options.tmem);
    let seen = 0;
    for (let number = 0; number < found.readableSegments; number++) {
      if (!this.#isWanted(number)) continue;
      const at = layout.segmentsAt + number * SEGMENT_BYTES;
      const length = await readInto(handle, reader.buffer, at);
      slices.restart();
      reader.open(number, length);
      for (let what = reader.next(); what !== SEGMENT_END; what = reader.next()) {
        if (slices.isOver) await slices.next();
        if (this.#state !== 'loading') return seen;
        if (what === PAGE_FOUND && this.#take(reader, room)) seen++;
        else if (what !== PAGE_FOUND && reader.isCountKnown) this.statistics.skippedDamaged++;
      }
    }
    return seen;
  }

  #isWanted(segment: number): boolean {
    return this.#loadable.some(
      (each) =>
        each !== undefined && segment >= each.saved.firstSegment && segment < each.saved.endSegment,
    );
  }

  /** Puts the page that the reader found, unless it is known better; false when it is nobody's. */
  #take(reader: SegmentReader, room: Room): boolean {
    const { statistics } = this;
    const { page, encoded } = reader;
    const entry = this.#loadable[reader.image];
    if (entry === undefined || page >= entry.pageCount) return false;
    const { cache } = entry.image;
    if (entry.changed.has(page)) {
      statistics.skippedChanged++;
    } else if (cache.has(page)) {
      statistics.skippedPresent++;
    } else if (!room.isWithinCap(cache.pool.account, this.#options.pageBytes)) {
      statistics.skippedAtCap++;
    } else if (!room.isLeft || isRefused(cache.putEncoded(page, encoded))) {
      this.#state = 'full';
    } else {
      statistics.loaded++;
      statistics.bytes += encoded.length;
    }
    return true;
  }

  #summary(): string {
    const { loaded, skippedAtCap, skippedStale, skippedDamaged, skippedChanged } = this.statistics;
    const ends: Partial<Record<LoaderState, string>> = {
      full: ', until the memory was full',
      stopped: ', until it was stopped',
    };
    const rest = [
      [skippedChanged, 'changed meanwhile'],
      [skippedAtCap, 'above the caps of their images'],
      [skippedStale, 'of images that have changed or are not served'],
      [skippedDamaged, 'damaged'],
    ] as const;
    const skipped = rest.filter(([count]) => count > 0).map(([count, why]) => `${count} ${why}`);
    const others = skipped.length === 0 ? '' : `; left out: ${skipped.join(', ')}`;
    return `${loaded} pages were loaded from "${this.#options.path}"${ends[this.#state] ?? ''}${others}`;
  }
}

/** Opens what can be read and marked; undefined when there is nothing yet. */
async function openSnapshot(path: string): Promise<FileHandle | undefined> {
  let handle: FileHandle;
  try {
    // Opening must not wait, whatever it is.
    handle = await open(path, constants.O_RDWR | constants.O_NONBLOCK | constants.O_NOFOLLOW);
  } catch (cause) {
    if (systemErrorCode(cause) === 'ENOENT') return undefined;
    throw useFailure(path, cause);
  }
  const stats = await handle.stat();
  if (stats.isFile() && stats.size > 0) return handle;
  await handle.close();
  if (stats.isFile()) return undefined; // made beforehand, for its place and mode
  throw new TmemError('usage', `cannot use "${path}" as a snapshot: it is no file`, {
    context: { path },
  });
}

/** What has a sentence of its own keeps it. */
function useFailure(path: string, cause: unknown): TmemError {
  if (cause instanceof TmemError) return cause;
  const code = systemErrorCode(cause) ?? String(cause);
  const kind = kindOfSystemError(cause);
  let advice = 'check what it is, and that this user may read and write it';
  if (kind === 'io') advice = 'check the disk that it is on';
  if (kind === 'no-space') advice = 'make room there';
  return new TmemError(
    kind,
    `cannot use "${path}" as a snapshot: the system answered ${code}; ${advice}`,
    { context: { path, code }, cause },
  );
}

/** From here on the images may change: only this boot of the machine vouches for their times. */
async function markAsUsed(handle: FileHandle, found: FoundHead, bootId: string): Promise<void> {
  const mark = encodeMark({ isClean: false, bootId }, found.head.id);
  for (const at of found.marksAt) await handle.write(mark, 0, mark.length, at);
  await handle.datasync();
}

/** Reads as much of a segment as there is; what the disk cannot read is as good as not there. */
async function readInto(handle: FileHandle, buffer: Buffer, at: number): Promise<number> {
  let length = 0;
  try {
    while (length < buffer.length) {
      const { bytesRead } = await handle.read(buffer, length, buffer.length - length, at + length);
      if (bytesRead === 0) break;
      length += bytesRead;
    }
  } catch {
    return length;
  }
  return length;
}
