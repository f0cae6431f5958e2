/**
 * Keeps clean pages from one run of the service to the next, in a snapshot: those of images of which
 * one file alone tells whether they have changed.
 */

import type { BaseImages } from '../export/base-images.ts';
import type { Export } from '../export/export.ts';
import type { BlockImage } from '../image/image.ts';
import { messageOf } from '../lib/errors.ts';
import { inTime, unlessStalled } from '../lib/in-time.ts';
import { formatSize } from '../lib/sizes.ts';
import { SnapshotLoader } from '../snapshot/loader.ts';
import { OpenedFiles } from '../snapshot/opened-files.ts';
import { checkPlace } from '../snapshot/replacement.ts';
import { type SaveResult, type SnapshotImage, saveSnapshot } from '../snapshot/save.ts';
import type { Cleancache } from '../tmem/cleancache.ts';
import type { Tmem } from '../tmem/tmem.ts';
import type { Disk } from './disks.ts';
import type { Served } from './exports.ts';
import type { ServiceLog } from './settings.ts';

export interface WarmRestartOptions {
  readonly path: string;
  readonly pageBytes: number;
  readonly tmem: Tmem;
  readonly served: readonly Served[];
  readonly baseImages: BaseImages;
  readonly log: ServiceLog;
}

/** How long the images may take to write what they write last, milliseconds. */
const FINISH_MS_MAX = 10_000;
/** How long loading may go on when the service ends, milliseconds. */
const LOAD_MS_MAX = 5_000;
/** How long a saving may take to end when it is told to, milliseconds. */
const END_MS_MAX = 10_000;

/** How long the last snapshot may get no further, milliseconds; its end is a sync of all of it. */
const STALL_MS_MAX = 60_000;

/** A saving that is under way, and how it is ended. */
interface UnderWay {
  readonly result: Promise<SaveResult>;
  readonly end: AbortController;
}

export class WarmRestart {
  readonly #options: WarmRestartOptions;
  readonly #images: readonly SnapshotImage[];
  /** Exports whose pages nothing can vouch for. */
  readonly #leftOut: readonly string[];
  /** Images that did not come to their end: nobody knows what the disk has. */
  readonly #unfinished = new Set<BlockImage>();
  /** By image: the exports that change it. */
  readonly #changers: readonly (readonly Export[])[];
  readonly #loader: SnapshotLoader;
  /** The last sync for a snapshot, of each image; never rejects. */
  readonly #syncing = new Map<BlockImage, Promise<void>>();
  readonly #opened = new OpenedFiles();
  #saving: UnderWay | undefined;

  constructor(options: WarmRestartOptions) {
    const { path, pageBytes, tmem, served, baseImages, log } = options;
    this.#options = options;
    const images: SnapshotImage[] = [];
    const changers: Export[][] = [];
    const leftOut: string[] = [];
    const add = (each: SnapshotImage, target?: Export): void => {
      const { medium, reading } = each;
      let at = images.findIndex((one) => one.medium === medium && one.reading === reading);
      if (at < 0) {
        at = images.push(each) - 1;
        changers.push([]);
      }
      if (target !== undefined) changers[at]?.push(target);
    };
    for (const { disk, target } of served) {
      if (!isCached(disk)) continue;
      const { name, image, snapshotName } = disk;
      if (image.isSelfContained) add(this.#entry(name, image, target.cache, snapshotName), target);
      else leftOut.push(name);
    }
    // Others may change a base that was let go of.
    const keepsBases = served.every(({ disk }) => disk.copyBytesPerSecond === undefined);
    for (const { image, cache } of keepsBases ? baseImages.all : []) {
      if (image.isSelfContained) add(this.#entry(image.name, image, cache));
    }
    this.#images = images;
    this.#leftOut = leftOut;
    this.#changers = changers;
    this.#loader = new SnapshotLoader({ path, pageBytes, images, tmem, log });
  }

  /** What became of the pages of the last snapshot. */
  get loader(): Pick<SnapshotLoader, 'state' | 'statistics'> {
    return this.#loader;
  }

  /**
   * Begins to load; to be awaited before clients are let in. Rejects with a TmemError where no
   * snapshot can be: at the end of the service it would be too late to choose another place.
   */
  async start(): Promise<void> {
    const { path, log } = this.#options;
    await checkPlace(path);
    for (const name of this.#leftOut) {
      const why = 'more than one file makes its content';
      log.info(`the pages of "${name}" are not kept in the snapshot: ${why}`);
    }
    for (const [image, exports] of this.#changers.entries()) {
      for (const each of exports) {
        each.watchChanges((first, count) => this.#loader.noteChange(image, first, count));
      }
    }
    const fixed = this.#images.filter(({ isAsOpened }) => isAsOpened !== undefined);
    await this.#opened.note(fixed.map(({ path }) => path));
    await this.#loader.start();
    void this.#loader.finished.then(() => {
      for (const each of this.#changers.flat()) each.watchChanges(undefined);
    });
  }

  #entry(
    name: string,
    image: BlockImage,
    cache: Cleancache,
    snapshotName?: string | undefined,
  ): SnapshotImage {
    const { formatName, medium } = image;
    const isRaw = formatName === 'raw';
    return {
      ...{ name, path: image.name, medium, cache, diskBytes: image.virtualSizeBytes },
      reading: isRaw ? undefined : JSON.stringify([formatName, snapshotName]),
      settle: isRaw || image.isReadOnly ? undefined : () => this.#sync(image),
      isAsOpened: image.isReadOnly ? (stamp) => this.#opened.isSame(image.name, stamp) : undefined,
      // After a failed sync nobody knows what the disk has.
      isSound: () => image.counters.sync.failures === 0 && !this.#unfinished.has(image),
    };
  }

  #sync(image: BlockImage): Promise<void> {
    const done = image.sync();
    this.#syncing.set(
      image,
      done.catch(() => undefined),
    );
    return done;
  }

  /**
   * Ends loading, which goes on for a while: what is not loaded is not in the next snapshot. Resolves
   * when it has ended.
   */
  async stop(): Promise<void> {
    const timer = setTimeout(() => this.#loader.stop(), LOAD_MS_MAX);
    await this.#loader.finished;
    clearTimeout(timer);
  }

  /** Saves what is clean now; whoever asks while that goes on gets the same. */
  save(isStopped = false, onProgress?: () => void): Promise<SaveResult> {
    const { path, pageBytes } = this.#options;
    const images = this.#images;
    if (this.#saving !== undefined) return this.#saving.result;
    const end = new AbortController();
    const { signal } = end;
    const result = saveSnapshot({ path, pageBytes, images, isStopped, signal, onProgress })
      .then((saved) => this.#tell(saved))
      .finally(() => {
        this.#saving = undefined;
      });
    this.#saving = { result, end };
    return result;
  }

  /** Ends a saving that somebody asked for: an image that it waits for may hang. */
  async #endSaving(): Promise<void> {
    if (this.#saving === undefined) return;
    const { result, end } = this.#saving;
    end.abort();
    const ended = result.then(
      () => undefined,
      () => undefined, // who asked for it is told
    );
    await inTime(ended, END_MS_MAX, `the snapshot "${this.#options.path}"`);
  }

  /** Saves for the last time; the disk that the snapshot goes to may hang. */
  #saveLast(): Promise<SaveResult> {
    const seconds = STALL_MS_MAX / 1000;
    const stall = `the snapshot "${this.#options.path}" got no further for ${seconds} s`;
    const save = (onProgress: () => void) => this.save(true, onProgress);
    return unlessStalled(save, STALL_MS_MAX, `${stall}; look at its disk`);
  }

  #tell(result: SaveResult): SaveResult {
    const { log } = this.#options;
    for (const name of result.leftOut) {
      log.warn(
        `the pages of "${name}" are not in the snapshot: nothing tells when it changes, ` +
          'it is being changed, another program changed it, or its disk failed',
      );
    }
    for (const name of result.changed) {
      log.info(`"${name}" changed while the snapshot was saved: its pages will not be used`);
    }
    return result;
  }

  /** What an image writes last would make its file another than the one in the snapshot. */
  async #finish(image: BlockImage): Promise<void> {
    if (this.#unfinished.has(image)) return;
    this.#unfinished.add(image);
    try {
      const syncing = this.#syncing.get(image) ?? Promise.resolve();
      const finished = syncing.then(() => image.finish());
      await inTime(finished, FINISH_MS_MAX, `"${image.name}"`);
      this.#unfinished.delete(image);
    } catch {
      // Closing the image fails as this did, and is told then.
    }
  }

  /** Saves at the end of the service, before the images are closed; a failure is a sentence. */
  async saveAtEnd(): Promise<void> {
    try {
      await this.#endSaving();
      // What hangs on its way to an image may still arrive when the snapshot is complete.
      const targets = this.#options.served.map(({ target }) => target);
      for (const { image, isSyncing } of targets) if (isSyncing) this.#unfinished.add(image);
      await Promise.all(targets.map(({ image }) => this.#finish(image)));
      const { pages, bytes } = await this.#saveLast();
      this.#options.log.info(`${pages} pages (${formatSize(bytes)}) are kept in the snapshot`);
    } catch (cause) {
      this.#options.log.warn(messageOf(cause));
    }
  }
}

/** Swap devices promise nothing, and RAM disks are in memory. */
function isCached({ mode, share }: Disk): boolean {
  return mode !== 'swap' && share.capBytes !== 0;
}
