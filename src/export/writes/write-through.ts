/**
 * Write-through: a write is answered when the image has it, and the page in the cache is replaced.
 * Write-around is the same but for the last part: what is written is dropped from the cache.
 */

import type { BlockImage } from '../../image/image.ts';
import type { PooledBuffer } from '../../lib/buffer-pool.ts';
import type { InFlight } from '../in-flight.ts';
import type { CleanPages } from '../pages/clean-pages.ts';
import type { WritePath } from './write-path.ts';

/** Zeroed pages that are put in the cache at once; longer ranges are only dropped from it. */
const ZERO_PAGES_CACHED_MAX = 1024;

export interface WriteThroughOptions {
  readonly image: BlockImage;
  readonly cache: CleanPages;
  readonly inFlight: InFlight;
  /** Whether written pages enter the cache. */
  readonly fillsCache: boolean;
}

export class WriteThrough implements WritePath {
  readonly #image: BlockImage;
  readonly #cache: CleanPages;
  readonly #inFlight: InFlight;
  readonly #fillsCache: boolean;
  readonly #zeroPage: Buffer;

  constructor(options: WriteThroughOptions) {
    this.#image = options.image;
    this.#cache = options.cache;
    this.#inFlight = options.inFlight;
    this.#fillsCache = options.fillsCache;
    this.#zeroPage = Buffer.alloc(options.cache.pageBytes);
  }

  /** Never: the image must be waited for. */
  tryWrite(): boolean {
    return false;
  }

  async write(offset: number, length: number, piece: PooledBuffer): Promise<void> {
    const { pageBytes } = this.#cache;
    const at = piece.dataOffset + (offset % pageBytes);
    await this.#change(
      offset,
      length,
      () => this.#image.write(piece.buffer, at, length, offset),
      (page) => this.#cache.put(page, piece.buffer, at + page * pageBytes - offset),
    );
  }

  async writeZeroes(
    offset: number,
    length: number,
    mayDiscard: boolean,
    mustBeFast: boolean,
  ): Promise<void> {
    const isCached = length <= ZERO_PAGES_CACHED_MAX * this.#cache.pageBytes;
    await this.#change(
      offset,
      length,
      () => this.#image.writeZeroes(offset, length, mayDiscard, mustBeFast),
      isCached ? (page) => this.#cache.put(page, this.#zeroPage, 0) : undefined,
    );
  }

  async trim(offset: number, length: number): Promise<void> {
    await this.#change(offset, length, () => this.#image.discard(offset, length));
  }

  sync(): Promise<void> {
    return this.#image.sync();
  }

  close(): void {
    // nothing goes on by itself
  }

  /**
   * Changes a range of the image. Its pages leave the cache before the change begins; `fill` hears
   * of each whole page in it when it is done, unless another change got in between.
   */
  async #change(
    offset: number,
    length: number,
    act: () => Promise<void>,
    fill?: (page: number) => void,
  ): Promise<void> {
    if (length === 0) return;
    const { pageBytes } = this.#cache;
    const first = Math.floor(offset / pageBytes);
    const count = Math.ceil((offset + length) / pageBytes) - first;
    const change = this.#inFlight.beginChange(first, count);
    try {
      await this.#cache.flushInTurns(first, count);
      await act();
    } finally {
      this.#cache.claim?.(first, count);
      this.#inFlight.endChange(change);
    }
    if (change.isContended || fill === undefined || !this.#fillsCache) return;
    const end = Math.floor((offset + length) / pageBytes);
    for (let page = Math.ceil(offset / pageBytes); page < end; page++) fill(page);
  }
}
