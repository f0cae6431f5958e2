/**
 * Reads of an export: requests of any alignment become pages, pages come from memory or are read
 * from the image once, however many ask. What is missing of one request is read in few pieces;
 * sequential readers have pages read ahead.
 */

import type { BlockImage } from '../../image/image.ts';
import type { Buffers, PooledBuffer } from '../../lib/buffer-pool.ts';
import { PIECE_BYTES } from '../../lib/buffer-pool.ts';
import { settleAll } from '../../lib/settle-all.ts';
import { turnOfTheLoop } from '../../lib/turn-of-the-loop.ts';
import { HIT_ZERO, MISS } from '../../tmem/layer.ts';
import type { AccessWatcher } from '../access-watcher.ts';
import { Fetch, type InFlight } from '../in-flight.ts';
import type { BaseReads } from '../pages/chain-pages.ts';
import { lostPage } from '../pages/dirty-tier.ts';
import type { ExportPages } from '../pages/pages.ts';
import { ReadAhead } from './read-ahead.ts';
import { Turns } from './turns.ts';

/** Missing pages with so few others between them are read together with those. */
const GAP_PAGES_MAX = 3;
/** Pieces that CACHE requests bring in at a time: they may ask for much, and are in no hurry. */
const PREFETCH_COUNT_MAX = 4;

/** Counters of one export's reads, plain fields. */
export interface ReadStatistics {
  /** Reads that were answered from memory alone, and those that needed the image. */
  readHits: number;
  readMisses: number;
  /** Pages that a reader got from another's read under way. */
  joinedPages: number;
  /** Pages read ahead of a sequential reader or on a client's CACHE request. */
  aheadPages: number;
}

export interface PageReadsOptions {
  readonly image: BlockImage;
  readonly pages: ExportPages;
  readonly inFlight: InFlight;
  readonly buffers: Buffers;
}

export class PageReads implements BaseReads {
  readonly statistics: ReadStatistics = {
    readHits: 0,
    readMisses: 0,
    joinedPages: 0,
    aheadPages: 0,
  };
  readonly readAhead: ReadAhead;
  /** Hears of every read that begins. */
  watcher: AccessWatcher | undefined;
  /** The pages that the last `copyCached` did not find; valid until the next. */
  readonly missing: number[] = [];
  /** Whether all that the last `copyCached` found was zeros. */
  isZero = false;

  readonly #image: BlockImage;
  readonly #pages: ExportPages;
  readonly #pageBytes: number;
  readonly #inFlight: InFlight;
  readonly #buffers: Buffers;
  readonly #scratch: Buffer;
  readonly #prefetchTurns = new Turns(PREFETCH_COUNT_MAX);

  constructor(options: PageReadsOptions) {
    this.#image = options.image;
    this.#pages = options.pages;
    this.#pageBytes = options.pages.pageBytes;
    this.#inFlight = options.inFlight;
    this.#buffers = options.buffers;
    this.#scratch = Buffer.alloc(this.#pageBytes);
    const pageCount = Math.ceil(options.image.virtualSizeBytes / this.#pageBytes);
    this.readAhead = new ReadAhead(pageCount, this.#pageBytes);
  }

  /** `copyCached` for a read that begins: it is counted, and may have pages read ahead. */
  readCached(offset: number, length: number, dst: Buffer, dstOffset: number): number {
    const usedFrom = this.usedFrom(offset);
    const missingCount = this.copyCached(offset, length, dst, dstOffset, usedFrom);
    if (missingCount === 0) this.statistics.readHits++;
    else this.statistics.readMisses++;
    this.#noteRead(offset, length, missingCount);
    return missingCount;
  }

  /**
   * The first page that a read which begins at `offset` now makes use of: those before it were read
   * ahead for this very read.
   */
  usedFrom(offset: number): number {
    return this.readAhead.aheadEndOf(Math.floor(offset / this.#pageBytes));
  }

  /** Hears of a read that was answered from the cache without `readCached`. */
  countHit(offset: number, length: number): void {
    this.statistics.readHits++;
    this.#noteRead(offset, length, 0);
  }

  /**
   * Copies what the cache holds of `[offset, offset + length)` to `dst[dstOffset]`. Answers how many
   * pages it does not hold: they are listed in `missing`, and their bytes in `dst` are untouched. It is
   * a use of the pages from `usedFrom` on; by default of none, since the read has begun before.
   */
  copyCached(
    offset: number,
    length: number,
    dst: Buffer,
    dstOffset: number,
    usedFrom = Number.POSITIVE_INFINITY,
  ): number {
    const pageBytes = this.#pageBytes;
    this.missing.length = 0;
    let isZero = true;
    const end = offset + length;
    let page = Math.floor(offset / pageBytes);
    this.#pages.chain?.findAtOnce(page, Math.ceil(end / pageBytes));
    for (let at = offset; at < end; page++) {
      const pageStart = page * pageBytes;
      const stop = Math.min(end, pageStart + pageBytes);
      const isWhole = at === pageStart && stop - at === pageBytes;
      const to = dstOffset + at - offset;
      const outcome = isWhole
        ? this.#pages.get(page, dst, to, page >= usedFrom)
        : this.#getPart(page, at - pageStart, stop - at, dst, to, page >= usedFrom);
      if (outcome === MISS) this.missing.push(page);
      if (outcome !== HIT_ZERO) isZero = false;
      at = stop;
    }
    this.isZero = isZero;
    return this.missing.length;
  }

  /**
   * Brings the `missing` pages of a read that begins at `offset` into `piece`, each at its place,
   * and into the cache. Rejects with a TmemError when the image fails.
   */
  async fetch(offset: number, missing: readonly number[], piece: PooledBuffer): Promise<void> {
    const { chain } = this.#pages;
    if (chain === undefined) return this.#fetch(offset, missing, piece);
    return this.#fetch(offset, await chain.fetchShared(offset, missing, piece), piece);
  }

  /**
   * As `fetch`, of pages that may be in the cache by now, for a disk based on this image. What lies
   * between them is left alone: the disk has newer pages there.
   */
  fetchAll(offset: number, pages: readonly number[], piece: PooledBuffer): Promise<void> {
    const pageBytes = this.#pageBytes;
    const start = piece.dataOffset - Math.floor(offset / pageBytes) * pageBytes;
    const missing = pages.filter(
      (page) => this.#pages.get(page, piece.buffer, start + page * pageBytes) === MISS,
    );
    return this.#fetch(offset, missing, piece, 0);
  }

  async #fetch(
    offset: number,
    missing: readonly number[],
    piece: PooledBuffer,
    gapPagesMax = GAP_PAGES_MAX,
  ): Promise<void> {
    const base = Math.floor(offset / this.#pageBytes);
    const work: Promise<void>[] = [];
    for (let i = 0; i < missing.length; ) {
      const page = missing[i]!;
      if (this.#pages.isDirty(page)) {
        work.push(this.#getDirty(page, base, piece)); // written since, or lost
        i++;
        continue;
      }
      const running = this.#inFlight.fetchOf(page);
      if (running !== undefined) {
        work.push(this.#join(running, page, base, piece));
        i++;
        continue;
      }
      let last = page;
      for (i++; i < missing.length; i++) {
        const next = missing[i]!;
        if (next - last > 1 + gapPagesMax || this.#inFlight.fetchOf(next) !== undefined) break;
        if (this.#isAnyDirty(last + 1, next)) break; // what the image has there is older
        last = next;
      }
      work.push(this.#readPages(page, last - page + 1, piece, base));
    }
    if (work.length === 1) return work[0];
    await settleAll(work);
  }

  /** Brings the range into the cache, piece by piece; `mayGoOn` is asked before each. */
  async prefetch(offset: number, length: number, mayGoOn: () => boolean): Promise<void> {
    const end = Math.ceil((offset + length) / this.#pageBytes);
    const step = PIECE_BYTES / this.#pageBytes;
    for (let page = Math.floor(offset / this.#pageBytes); page < end && mayGoOn(); page += step) {
      await this.#prefetchTurns.begin();
      try {
        const count = Math.min(step, end - page);
        const missing = this.#absent(page, count);
        if (missing.length > 0) await this.#prefetchPiece(page, count, missing);
        await turnOfTheLoop(); // others come between: what needs no disk is here at once
      } finally {
        this.#prefetchTurns.end();
      }
    }
  }

  #getPart(
    page: number,
    from: number,
    length: number,
    dst: Buffer,
    dstOffset: number,
    isUse: boolean,
  ): number {
    const outcome = this.#pages.get(page, this.#scratch, 0, isUse);
    if (outcome !== MISS) this.#scratch.copy(dst, dstOffset, from, from + length);
    return outcome;
  }

  #isAnyDirty(first: number, last: number): boolean {
    for (let page = first; page <= last; page++) if (this.#pages.isDirty(page)) return true;
    return false;
  }

  /** Copies a page that the image does not have to its place in `piece`, in this turn. */
  async #getDirty(page: number, base: number, piece: PooledBuffer): Promise<void> {
    const to = piece.dataOffset + (page - base) * this.#pageBytes;
    if (this.#pages.get(page, piece.buffer, to) !== MISS) return;
    throw lostPage(this.#image.name, page * this.#pageBytes);
  }

  /** Reads pages from the image into their places in `piece`, and puts them in the cache. */
  async #readPages(first: number, count: number, piece: PooledBuffer, base: number): Promise<void> {
    const pageBytes = this.#pageBytes;
    const { buffer } = piece;
    const at = piece.dataOffset + (first - base) * pageBytes;
    const fetch = new Fetch(first, count, buffer, at);
    const offset = first * pageBytes;
    const bytes = Math.min(count * pageBytes, this.#image.virtualSizeBytes - offset);
    this.#inFlight.beginFetch(fetch);
    let isRead = false;
    try {
      await this.#image.read(buffer, at, bytes, offset);
      buffer.fill(0, at + bytes, at + count * pageBytes); // behind the end of the image
      isRead = true;
    } finally {
      this.#inFlight.endFetch(fetch, isRead);
    }
    if (!fetch.isStale) this.#cachePages(fetch);
  }

  #cachePages(fetch: Fetch): void {
    for (let i = 0; i < fetch.count; i++) {
      const page = fetch.first + i;
      if (this.#pages.has(page)) continue; // it lay between two missing ones
      this.#pages.clean.put(page, fetch.buffer, fetch.offset + i * this.#pageBytes);
    }
  }

  async #join(running: Fetch, page: number, base: number, piece: PooledBuffer): Promise<void> {
    this.statistics.joinedPages++;
    const to = piece.dataOffset + (page - base) * this.#pageBytes;
    const isCopied = await this.#inFlight.join(running, page, piece.buffer, to);
    // The other's read failed, perhaps for a page that is not ours: read this one alone.
    if (!isCopied) await this.#readPages(page, 1, piece, base);
  }

  #noteRead(offset: number, length: number, missingCount: number): void {
    const { readAhead } = this;
    const pageBytes = this.#pageBytes;
    const first = Math.floor(offset / pageBytes);
    const end = Math.ceil((offset + length) / pageBytes);
    if (this.watcher !== undefined) this.watcher.noteRead(first, end - first, missingCount);
    const ahead = readAhead.note(first, end, missingCount > 0);
    if (ahead.count > 0) this.#readAhead(ahead.first, ahead.count);
  }

  /** Starts reading ahead, if buffers are plentiful; its failures are the later reader's to meet. */
  #readAhead(first: number, count: number): void {
    const step = PIECE_BYTES / this.#pageBytes;
    const end = first + count;
    let page = first;
    let missingCount = 0;
    for (; page < end && this.#buffers.isSpare; page += step) {
      const length = Math.min(step, end - page);
      const missing = this.#absent(page, length);
      if (missing.length === 0) continue;
      missingCount += missing.length;
      this.#prefetchPiece(page, length, missing).catch(() => undefined);
    }
    this.readAhead.begun(Math.min(page, end), missingCount);
  }

  /** The pages of a range that are neither cached nor being read. */
  #absent(first: number, count: number): number[] {
    const absent: number[] = [];
    this.#pages.chain?.findAtOnce(first, first + count);
    for (let page = first; page < first + count; page++) {
      const isComing = this.#inFlight.fetchOf(page) !== undefined;
      if (!isComing && !this.#pages.has(page)) absent.push(page);
    }
    return absent;
  }

  async #prefetchPiece(first: number, count: number, missing: readonly number[]): Promise<void> {
    const piece = await this.#buffers.wait(count * this.#pageBytes);
    try {
      this.statistics.aheadPages += missing.length;
      await this.fetch(first * this.#pageBytes, missing, piece);
    } finally {
      this.#buffers.release(piece);
    }
  }
}
