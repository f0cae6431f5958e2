/**
 * The clean pages of a disk that is a chain of images: each page is cached under the image that
 * holds it, so that all overlays of one base share the base's pages. Who holds a page is known in
 * memory, or found out on the way of a read that misses.
 *
 * A page is of the topmost image that holds any part of it. That the top image holds a page is
 * always a safe answer, since a read of it goes through the chain; that a deeper one does is true
 * for as long as nothing is written to the page, and writing claims it for the top.
 */

import type { ImageOwner } from '../../image/below.ts';
import type { BlockImage } from '../../image/image.ts';
import type { PooledBuffer } from '../../lib/buffer-pool.ts';
import { settleAll } from '../../lib/settle-all.ts';
import { Users } from '../../lib/users.ts';
import type { Cleancache } from '../../tmem/cleancache.ts';
import { type GetOutcome, MISS, type PutOutcome } from '../../tmem/layer.ts';
import type { Lender } from '../../tmem/lender.ts';
import { NO_LOAN } from '../../tmem/lender.ts';
import type { Pool } from '../../tmem/pool.ts';
import type { CleanPages } from './clean-pages.ts';
import type { PageOwners } from './page-owners.ts';

/** Reads of an image that others are based on. */
export interface BaseReads {
  /**
   * Brings `pages` of a read that begins at `offset` into `piece`, each at its place, from the cache
   * or the image, and leaves what lies between them alone. Rejects with a TmemError.
   */
  fetchAll(offset: number, pages: readonly number[], piece: PooledBuffer): Promise<void>;
}

/** An image that others are based on, and its pages: one for all who share it. */
export interface BaseImage {
  readonly cache: Cleancache;
  readonly reads: BaseReads;
}

export interface ChainPagesOptions {
  readonly image: BlockImage;
  /** Of the pages that the top image holds. */
  readonly cache: Cleancache;
  /** The backing image, its backing image, and so on. */
  readonly bases: readonly BaseImage[];
  readonly owners: PageOwners;
}

export class ChainPages implements CleanPages {
  readonly pageBytes: number;
  readonly pool: Pool;
  readonly #image: BlockImage;
  readonly #caches: readonly Cleancache[];
  readonly #bases: readonly BaseImage[];
  readonly #owners: PageOwners;
  /** The images below are let go of: all pages are the top's. */
  #isAlone = false;
  /** Reads of the images below under way. */
  readonly #sharedReads = new Users();

  constructor({ image, cache, bases, owners }: ChainPagesOptions) {
    this.pageBytes = cache.pageBytes;
    this.pool = cache.pool;
    this.#image = image;
    this.#caches = [cache, ...bases.map((base) => base.cache)];
    this.#bases = bases;
    this.#owners = owners;
  }

  /** Of the images below the top, each shared by all that are based on it. */
  get baseCaches(): readonly Cleancache[] {
    return this.#caches.slice(1);
  }

  get lender(): Lender | undefined {
    return this.#caches[0]?.lender;
  }

  /** Of the top image's pages; each image below counts for itself, whoever asked. */
  get hits(): number {
    return this.#caches[0]!.hits;
  }

  set hits(count: number) {
    this.#caches[0]!.hits = count;
  }

  get(page: number, dst: Buffer, dstOffset: number, isUse = true): GetOutcome {
    const cache = this.#caches[this.#depthOf(page)];
    return cache === undefined ? MISS : cache.get(page, dst, dstOffset, isUse);
  }

  has(page: number): boolean {
    return this.#caches[this.#depthOf(page)]?.has(page) ?? false;
  }

  /** Under the image that is known to hold the page, or under the top: that is never wrong. */
  put(page: number, src: Buffer, srcOffset: number): PutOutcome {
    const cache = this.#caches[this.#depthOf(page)] ?? this.#caches[0]!;
    return cache.put(page, src, srcOffset);
  }

  /** Of pages known to be the top image's alone: those are the ones that may be written to it. */
  hasBytes(page: number): boolean {
    return this.#depthOf(page) === 0 && this.#caches[0]!.hasBytes(page);
  }

  copy(page: number, dst: Buffer, dstOffset: number): GetOutcome {
    return this.#caches[0]!.copy(page, dst, dstOffset);
  }

  /** The disk is about to change there: from now on the pages are the top image's. */
  flush(first: number, count: number): void {
    this.#caches[0]!.flush(first, count);
    this.claim(first, count);
  }

  async flushInTurns(first: number, count: number): Promise<void> {
    this.claim(first, count);
    await this.#caches[0]!.flushInTurns(first, count);
  }

  claim(first: number, count: number): void {
    this.#owners.setTop(first, count);
  }

  lend(page: number, isUse = true): number {
    return this.#caches[this.#depthOf(page)]?.lend(page, isUse) ?? NO_LOAN;
  }

  /**
   * Brings those of the `missing` pages of a read at `offset` into `piece` that images below the top
   * hold, or that turn out to be cached. Answers those that are left to be read from the top.
   */
  async fetchShared(
    offset: number,
    missing: readonly number[],
    piece: PooledBuffer,
  ): Promise<number[]> {
    const first = missing[0];
    const last = missing.at(-1);
    if (first === undefined || last === undefined) return [];
    await this.#findOwners(first, last + 1);
    const left: number[] = [];
    const shared: number[][] = this.#bases.map(() => []);
    const base = Math.floor(offset / this.pageBytes);
    for (const page of missing) {
      const depth = this.#depthOf(page);
      const at = piece.dataOffset + (page - base) * this.pageBytes;
      if (depth > 0) shared[depth - 1]?.push(page);
      else if (this.#caches[0]!.get(page, piece.buffer, at) === MISS) left.push(page);
    }
    const reads = shared.map((pages, i) => {
      return pages.length === 0 ? undefined : this.#bases[i]?.reads.fetchAll(offset, pages, piece);
    });
    await this.#sharedReads.during(settleAll(reads));
    return left;
  }

  /**
   * The top image is about to let go of those below: no page is looked for there any more. Resolves
   * when nobody reads from them.
   */
  standAlone(): Promise<void> {
    this.#isAlone = true;
    return this.#sharedReads.gone();
  }

  #depthOf(page: number): number {
    return this.#isAlone ? 0 : this.#owners.depthOf(page);
  }

  /**
   * Notes who holds the pages `[first, end)` in this turn, as far as tables in memory tell: what the
   * base has of a page that this disk never read is then a hit like any other.
   */
  findAtOnce(first: number, end: number): void {
    for (let page = first; page < end && !this.#isAlone; ) {
      if (this.#owners.depthOf(page) >= 0) {
        page++;
        continue;
      }
      let found: number | Promise<number>;
      try {
        found = this.#find(page, end);
      } catch {
        return; // the read that follows meets the failure, and tells of it
      }
      if (found instanceof Promise) {
        found.catch(() => undefined);
        return;
      }
      page += Math.max(1, found);
    }
  }

  /** Notes who holds the pages `[first, end)`, as far as that is not known. */
  async #findOwners(first: number, end: number): Promise<void> {
    for (let page = first; page < end && !this.#isAlone; ) {
      if (this.#owners.depthOf(page) >= 0) {
        page++;
        continue;
      }
      const notes = this.#owners.notesOf(page);
      const found = this.#find(page, end);
      const count = found instanceof Promise ? await found : found;
      if (count === 0) notes.note(page, await this.#topmostOf(page));
      page += Math.max(1, count);
    }
  }

  /** Notes one run of whole pages from `page` on; answers how many, 0 if several images have parts of it. */
  #find(page: number, end: number): number | Promise<number> {
    const { pageBytes } = this;
    const notes = this.#owners.notesOf(page);
    const offset = page * pageBytes;
    const stop = Math.min(Math.min(end, notes.end) * pageBytes, this.#image.virtualSizeBytes);
    const note = ({ depth, length }: ImageOwner): number => {
      const count = Math.floor(length / pageBytes);
      for (let i = 0; i < count; i++) notes.note(page + i, depth);
      return count;
    };
    const found = this.#image.ownerOf(offset, stop - offset);
    return found instanceof Promise ? found.then(note) : note(found);
  }

  /** The topmost image that holds a part of a page that several hold, or that the disk's end cuts. */
  async #topmostOf(page: number): Promise<number> {
    const start = page * this.pageBytes;
    const end = start + this.pageBytes;
    if (end > this.#image.virtualSizeBytes) return 0;
    let topmost = Number.POSITIVE_INFINITY;
    for (let offset = start; offset < end; ) {
      const { depth, length } = await this.#image.ownerOf(offset, end - offset);
      topmost = Math.min(topmost, depth);
      offset += length;
    }
    return topmost;
  }
}
