/**
 * The background copy: it brings into an image what shows through from the images below, in order
 * and at a rate, while the image is in use. Behind it `dropBacking` lets go of them.
 *
 * It cannot harm a write: a unit is copied as a write into it would be, so that a guest who writes it
 * meanwhile waits, and what a guest has written is not touched. After a restart it begins anew and
 * passes over what is there.
 */

import { setTimeout as pause } from 'node:timers/promises';
import type { BlockImage } from './image.ts';

/** Copied at a time, bytes; a multiple of every unit up to it. */
const PIECE_BYTES = 1024 * 1024;
/** What is copied is made durable after so many bytes, so that a crash does not cost all of it. */
const SYNC_BYTES = 256 * 1024 * 1024;
/** After a failure it rests so long, milliseconds. */
const RETRY_MS = 5_000;

export interface BackgroundCopyOptions {
  /** Writable, with a backing image. */
  readonly image: BlockImage;
  readonly bytesPerSecond: number;
  /** Hears of a failure; the copy goes on after a pause. */
  readonly onFailure: (cause: unknown) => void;
}

/** What became of a copy. */
export type CopyEnd = 'complete' | 'stopped';

export class BackgroundCopy {
  /** Bytes of the disk that have been gone through. */
  doneBytes = 0;
  /** Resolves when it is complete or stopped; never rejects. */
  readonly finished: Promise<CopyEnd>;
  readonly #options: BackgroundCopyOptions;
  readonly #stop = new AbortController();

  /** Begins to copy. */
  constructor(options: BackgroundCopyOptions) {
    this.#options = options;
    this.finished = this.#run();
  }

  get totalBytes(): number {
    return this.#options.image.virtualSizeBytes;
  }

  /** Ends it after the piece that is under way. */
  stop(): Promise<CopyEnd> {
    this.#stop.abort();
    return this.finished;
  }

  async #run(): Promise<CopyEnd> {
    const { onFailure } = this.#options;
    while (!this.#stop.signal.aborted) {
      try {
        if (await this.#copyAll()) return 'complete';
      } catch (cause) {
        onFailure(cause);
        await this.#rest(RETRY_MS);
      }
    }
    return 'stopped';
  }

  /** Goes through the disk from where it was; no when it was stopped. */
  async #copyAll(): Promise<boolean> {
    const { image, bytesPerSecond } = this.#options;
    let unsyncedBytes = 0;
    while (this.doneBytes < image.virtualSizeBytes) {
      const length = Math.min(PIECE_BYTES, image.virtualSizeBytes - this.doneBytes);
      const copied = await image.copyUp(this.doneBytes, length);
      unsyncedBytes += copied;
      if (unsyncedBytes >= SYNC_BYTES) {
        await image.sync();
        unsyncedBytes = 0;
      }
      this.doneBytes += length;
      if (copied > 0) await this.#rest((copied / bytesPerSecond) * 1000);
      if (this.#stop.signal.aborted) return false;
    }
    await image.sync();
    return true;
  }

  async #rest(ms: number): Promise<void> {
    await pause(ms, undefined, { signal: this.#stop.signal, ref: false }).catch(() => undefined);
  }
}
