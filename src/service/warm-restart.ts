/** Keeps clean pages from one run of the service to the next, in a snapshot. */

import type { Export } from '../export/export.ts';
import { formatSize } from '../lib/sizes.ts';
import { SnapshotLoader } from '../snapshot/loader.ts';
import { type SaveResult, type SnapshotImage, saveSnapshot } from '../snapshot/save.ts';
import type { Tmem } from '../tmem/tmem.ts';
import type { Disk } from './disks.ts';
import type { ServiceLog } from './settings.ts';

export interface WarmRestartOptions {
  readonly path: string;
  readonly pageBytes: number;
  readonly tmem: Tmem;
  readonly disks: readonly Disk[];
  /** Of the disks, in order. */
  readonly exports: readonly Export[];
  readonly log: ServiceLog;
}

export class WarmRestart {
  readonly #options: WarmRestartOptions;
  readonly #images: readonly SnapshotImage[];
  /** By image: the exports that change it. */
  readonly #changers: readonly (readonly Export[])[];
  readonly #loader: SnapshotLoader;
  #saving: Promise<SaveResult> | undefined;

  constructor(options: WarmRestartOptions) {
    const { path, pageBytes, tmem, exports, disks, log } = options;
    this.#options = options;
    const images: SnapshotImage[] = [];
    const changers: Export[][] = [];
    for (const [i, { name, image, mode }] of disks.entries()) {
      const target = exports[i];
      if (mode === 'swap' || target === undefined) continue;
      const known = images.findIndex(({ medium }) => medium === image.medium);
      if (known >= 0) {
        changers[known]?.push(target);
        continue;
      }
      images.push({
        ...{ name, path: image.name, medium: image.medium, cache: target.cache },
        // After a failed sync nobody knows what the disk has.
        isSound: () => image.counters.sync.failures === 0,
      });
      changers.push([target]);
    }
    this.#images = images;
    this.#changers = changers;
    this.#loader = new SnapshotLoader({ path, pageBytes, images, tmem, log });
  }

  /** What became of the pages of the last snapshot. */
  get loader(): Pick<SnapshotLoader, 'state' | 'statistics'> {
    return this.#loader;
  }

  /** Begins to load; to be awaited before clients are let in. */
  async start(): Promise<void> {
    for (const [image, exports] of this.#changers.entries()) {
      for (const each of exports) {
        each.watchChanges((first, count) => this.#loader.noteChange(image, first, count));
      }
    }
    await this.#loader.start();
    void this.#loader.finished.then(() => {
      for (const each of this.#changers.flat()) each.watchChanges(undefined);
    });
  }

  /** Ends loading; resolves when it has ended. */
  async stop(): Promise<void> {
    this.#loader.stop();
    await this.#loader.finished;
  }

  /** Saves what is clean now; whoever asks while that goes on gets the same. */
  save(isStopped = false): Promise<SaveResult> {
    const { path, pageBytes } = this.#options;
    this.#saving ??= saveSnapshot({ path, pageBytes, images: this.#images, isStopped })
      .then((result) => this.#tell(result))
      .finally(() => {
        this.#saving = undefined;
      });
    return this.#saving;
  }

  #tell(result: SaveResult): SaveResult {
    const { log } = this.#options;
    for (const name of result.leftOut) {
      log.warn(`the pages of "${name}" are not in the snapshot: nothing tells when it changes`);
    }
    for (const name of result.changed) {
      log.info(`"${name}" changed while the snapshot was saved: its pages will not be used`);
    }
    return result;
  }

  /** Saves at the end of the service, before the images are closed; a failure is a sentence. */
  async saveAtEnd(): Promise<void> {
    await this.#saving?.catch(() => undefined);
    try {
      const { pages, bytes } = await this.save(true);
      this.#options.log.info(`${pages} pages (${formatSize(bytes)}) are kept in the snapshot`);
    } catch (cause) {
      this.#options.log.warn(cause instanceof Error ? cause.message : String(cause));
    }
  }
}
