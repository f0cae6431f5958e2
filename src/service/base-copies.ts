/**
 * The background copies of a service: exports that are to stand alone get what their base images hold
 * while they are served, and then let go of them.
 */

import type { BaseImages } from '../export/base-images.ts';
import type { Export } from '../export/export.ts';
import { BackgroundCopy } from '../image/background-copy.ts';
import { messageOf } from '../lib/errors.ts';
import { inTime } from '../lib/in-time.ts';
import type { Served } from './exports.ts';
import type { ServiceLog } from './settings.ts';

export interface BaseCopiesOptions {
  readonly served: readonly Served[];
  readonly baseImages: BaseImages;
  readonly log: ServiceLog;
}

/** How far one copy is. */
export interface BaseCopyProgress {
  readonly exportName: string;
  readonly doneBytes: number;
  readonly totalBytes: number;
}

interface Running {
  readonly target: Export;
  readonly copy: BackgroundCopy;
  /** Resolves when the copy has ended and, if it was complete, the base is let go of. */
  readonly settled: Promise<void>;
}

export class BaseCopies {
  readonly #options: BaseCopiesOptions;
  readonly #running: Running[] = [];
  /** Complete, but others read from the same open base: let go of at the end. */
  readonly #waiting: Export[] = [];

  constructor(options: BaseCopiesOptions) {
    this.#options = options;
  }

  /** Copies under way and done. */
  get progress(): readonly BaseCopyProgress[] {
    return this.#running.map(({ target, copy }) => {
      return { exportName: target.name, doneBytes: copy.doneBytes, totalBytes: copy.totalBytes };
    });
  }

  start(): void {
    for (const { disk, target } of this.#options.served) {
      const { copyBytesPerSecond } = disk;
      if (copyBytesPerSecond === undefined || target.isReadOnly) continue;
      if (target.image.backing !== undefined) this.#begin(target, copyBytesPerSecond);
    }
  }

  /**
   * Ends what is under way, before the images close; resolves when nothing is copied any more, or
   * after `ms`: a copy that hangs is told, and keeps its base. Nobody was promised that it ends.
   */
  async stop(ms: number): Promise<void> {
    for (const { copy } of this.#running) void copy.stop();
    await Promise.all(
      this.#running.map(async ({ target, settled }) => {
        const ended = settled.then(async () => {
          if (this.#waiting.includes(target)) await this.#drop(target);
        });
        await inTime(ended, ms, `the copy of the base of export "${target.name}"`).catch(
          (cause: unknown) => this.#options.log.warn(messageOf(cause)),
        );
      }),
    );
  }

  #begin(target: Export, bytesPerSecond: number): void {
    const { log, baseImages } = this.#options;
    const { image, name } = target;
    const onFailure = (cause: unknown): void => {
      log.warn(`the base of export "${name}" cannot be copied just now: ${messageOf(cause)}`);
    };
    const copy = new BackgroundCopy({ image, bytesPerSecond, onFailure });
    const settled = copy.finished.then(async (end) => {
      if (end === 'stopped') return;
      if (baseImages.hasOtherUsers(image)) this.#waiting.push(target);
      else await this.#drop(target);
    });
    this.#running.push({ target, copy, settled });
  }

  async #drop({ name, image, pages }: Export): Promise<void> {
    const { log } = this.#options;
    try {
      await pages.chain?.standAlone();
      await image.dropBacking();
      log.info(`export "${name}" has all of its base and stands alone now`);
    } catch (cause) {
      log.warn(`export "${name}" has all of its base, but keeps it: ${messageOf(cause)}`);
    }
  }
}
