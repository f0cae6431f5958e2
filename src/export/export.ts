/**
 * An export: one image behind one cache, as the clients of a server see it. Requests of any
 * alignment become pages; pages come from the cache or are read from the image once, however many
 * ask; writes go through to the image and then replace what is cached.
 *
 * A read that hits is synchronous: `readCached`. Everything that waits for the image is another
 * method and returns a promise. Ranges are bytes and lie inside the export: the caller has checked.
 */

import type { BlockImage } from '../image/image.ts';
import type { BufferPool, PooledBuffer } from '../lib/buffer-pool.ts';
import { PIECE_BYTES } from '../lib/buffer-pool.ts';
import { TmemError } from '../lib/errors.ts';
import type { Cleancache } from '../tmem/cleancache.ts';
import { HIT_ZERO, MISS } from '../tmem/layer.ts';
import { Fetch, InFlight } from './in-flight.ts';
import { ReadAhead } from './read-ahead.ts';
import { Turns } from './turns.ts';

/** Missing pages this close to each other are read together with what lies between them. */
const GAP_PAGES_MAX = 4;
/** Zeroed pages that are put in the cache at once; longer ranges are only dropped from it. */
const ZERO_PAGES_CACHED_MAX = 1024;

/** Pieces that CACHE requests bring in at a time: they may ask for much, and are in no hurry. */
const PREFETCH_COUNT_MAX = 4;

/** Counters of one export, plain fields. */
export interface ExportStatistics {
  /** Reads that were answered from the cache alone, and those that needed the image. */
  readHits: number;
  readMisses: number;
  /** Pages that a reader got from another's read under way. */
  joinedPages: number;
  /** Pages read ahead of a sequential reader or on a client's CACHE request. */
  aheadPages: number;
}

export interface ExportOptions {
  readonly name: string;
  readonly image: BlockImage;
  readonly cache: Cleancache;
  readonly buffers: BufferPool;
  readonly isReadOnly: boolean;
}

/** A run of bytes of one allocation state. */
export interface ExportExtent {
  readonly length: number;
  readonly isHole: boolean;
  readonly isZero: boolean;
}

export class Export {
  readonly name: string;
  readonly sizeBytes: number;
  readonly pageBytes: number;
  readonly isReadOnly: boolean;
  readonly image: BlockImage;
  readonly cache: Cleancache;
  readonly statistics: ExportStatistics = {
    readHits: 0,
    readMisses: 0,
    joinedPages: 0,
    aheadPages: 0,
  };
  readonly readAhead: ReadAhead;
  /** The pages that the last `copyCached` did not find; valid until the next. */
  readonly missing: number[] = [];
  /** Whether all that the last `copyCached` found was zeros. */
  isZero = false;

  readonly #buffers: BufferPool;
  readonly #inFlight: InFlight;
  readonly #scratch: Buffer;
  readonly #prefetchTurns = new Turns(PREFETCH_COUNT_MAX);
  #sync: Promise<void> | undefined;
  #nextSync: Promise<void> | undefined;

  constructor(options: ExportOptions) {
    this.name = options.name;
    this.image = options.image;
    this.cache = options.cache;
    this.isReadOnly = options.isReadOnly;
    this.sizeBytes = options.image.virtualSizeBytes;
    this.pageBytes = options.cache.pageBytes;
    this.#buffers = options.buffers;
    this.#inFlight = new InFlight(this.pageBytes);
    this.#scratch = Buffer.alloc(this.pageBytes);
    this.readAhead = new ReadAhead(Math.ceil(this.sizeBytes / this.pageBytes), this.pageBytes);
  }

  /** `copyCached` for a read that begins: it is counted, and may have pages read ahead. */
  readCached(offset: number, length: number, dst: Buffer, dstOffset: number): number {
    const missingCount = this.copyCached(offset, length, dst, dstOffset);
    if (missingCount === 0) this.statistics.readHits++;
    else this.statistics.readMisses++;
    this.#noteRead(offset, length, missingCount > 0);
    return missingCount;
  }

  /** Hears of a read that was answered from the cache without `readCached`. */
  countHit(offset: number, length: number): void {
    this.statistics.readHits++;
    this.#noteRead(offset, length, false);
  }

  /**
   * Copies what the cache holds of `[offset, offset + length)` to `dst[dstOffset]`. Answers how many
   * pages it does not hold: they are listed in `missing`, and their bytes in `dst` are untouched.
   */
  copyCached(offset: number, length: number, dst: Buffer, dstOffset: number): number {
    const { pageBytes } = this;
    this.missing.length = 0;
    let isZero = true;
    const end = offset + length;
    let page = Math.floor(offset / pageBytes);
    for (let at = offset; at < end; page++) {
      const pageStart = page * pageBytes;
      const stop = Math.min(end, pageStart + pageBytes);
      const isWhole = at === pageStart && stop - at === pageBytes;
      const to = dstOffset + at - offset;
      const outcome = isWhole
        ? this.cache.get(page, dst, to)
        : this.#getPart(page, at - pageStart, stop - at, dst, to);
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
    const base = Math.floor(offset / this.pageBytes);
    const work: Promise<void>[] = [];
    for (let i = 0; i < missing.length; ) {
      const page = missing[i]!;
      const running = this.#inFlight.fetchOf(page);
      if (running !== undefined) {
        work.push(this.#join(running, page, base, piece));
        i++;
        continue;
      }
      let last = page;
      for (i++; i < missing.length; i++) {
        const next = missing[i]!;
        if (next - last > GAP_PAGES_MAX || this.#inFlight.fetchOf(next) !== undefined) break;
        last = next;
      }
      work.push(this.#readPages(page, last - page + 1, piece, base));
    }
    if (work.length === 1) return work[0];
    await settleAll(work);
  }

  /**
   * Writes the bytes that lie in `piece`, at their place in their first page, to the image, then
   * puts the whole pages among them in the cache. When it fails nothing of the range is cached.
   */
  async write(offset: number, length: number, piece: PooledBuffer): Promise<void> {
    const { pageBytes } = this;
    const at = piece.dataOffset + (offset % pageBytes);
    await this.#change(
      offset,
      length,
      () => this.image.write(piece.buffer, at, length, offset),
      (first, end) => {
        for (let page = first; page < end; page++) {
          this.cache.put(page, piece.buffer, at + page * pageBytes - offset);
        }
      },
    );
  }

  /** The range reads as zeros afterwards; see `Storage.writeZeroes`. */
  async writeZeroes(
    offset: number,
    length: number,
    mayDiscard: boolean,
    mustBeFast = false,
  ): Promise<void> {
    await this.#change(
      offset,
      length,
      () => this.image.writeZeroes(offset, length, mayDiscard, mustBeFast),
      (first, end) => {
        if (end - first > ZERO_PAGES_CACHED_MAX) return;
        this.#scratch.fill(0);
        for (let page = first; page < end; page++) this.cache.put(page, this.#scratch, 0);
      },
    );
  }

  /** The range is no longer needed: it leaves the cache at once, and the medium where it can. */
  async trim(offset: number, length: number): Promise<void> {
    await this.#change(offset, length, () => this.image.discard(offset, length));
  }

  /**
   * Resolves when every change that was answered before the call is on stable storage. Callers who
   * come while a sync runs share the next one.
   */
  sync(): Promise<void> {
    if (this.isReadOnly) return Promise.resolve();
    if (this.#sync === undefined) {
      this.#sync = this.image.sync().finally(() => {
        this.#sync = undefined;
      });
      return this.#sync;
    }
    this.#nextSync ??= this.#sync
      .catch(() => undefined) // who asked for that one hears of it
      .then(() => {
        this.#nextSync = undefined;
        return this.sync();
      });
    return this.#nextSync;
  }

  /** Brings the range into the cache, piece by piece; `mayGoOn` is asked before each. */
  async prefetch(offset: number, length: number, mayGoOn: () => boolean): Promise<void> {
    const end = Math.ceil((offset + length) / this.pageBytes);
    const step = PIECE_BYTES / this.pageBytes;
    for (let page = Math.floor(offset / this.pageBytes); page < end && mayGoOn(); page += step) {
      await this.#prefetchTurns.begin();
      try {
        const count = Math.min(step, end - page);
        const missing = this.#absent(page, count);
        if (missing.length > 0) await this.#prefetchPiece(page, count, missing);
        else await new Promise((resolve) => setImmediate(resolve)); // others come between
      } finally {
        this.#prefetchTurns.end();
      }
    }
  }

  /** Allocation states from `offset` on, neighbours joined; at most `countMax` of them. */
  async extents(offset: number, length: number, countMax: number): Promise<ExportExtent[]> {
    const extents: ExportExtent[] = [];
    for (let at = 0; at < length; ) {
      const { length: run, isHole, isZero } = await this.image.extent(offset + at, length - at);
      const bytes = Math.min(run, length - at);
      const last = extents.at(-1);
      if (last !== undefined && last.isHole === isHole && last.isZero === isZero) {
        extents[extents.length - 1] = { length: last.length + bytes, isHole, isZero };
      } else if (extents.length === countMax) {
        break;
      } else {
        extents.push({ length: bytes, isHole, isZero });
      }
      at += bytes;
    }
    return extents;
  }

  #getPart(page: number, from: number, length: number, dst: Buffer, dstOffset: number): number {
    const outcome = this.cache.get(page, this.#scratch, 0);
    if (outcome !== MISS) this.#scratch.copy(dst, dstOffset, from, from + length);
    return outcome;
  }

  /**
   * Changes a range of the image. Its pages leave the cache before the change begins; `fill` hears
   * of the whole pages in it when it is done, unless another change got in between.
   */
  async #change(
    offset: number,
    length: number,
    act: () => Promise<void>,
    fill?: (firstPage: number, endPage: number) => void,
  ): Promise<void> {
    if (length === 0) return;
    const { pageBytes } = this;
    const first = Math.floor(offset / pageBytes);
    const count = Math.ceil((offset + length) / pageBytes) - first;
    const change = this.#inFlight.beginChange(first, count);
    this.cache.flush(first, count);
    try {
      await act();
    } finally {
      this.#inFlight.endChange(change);
    }
    if (change.isContended || fill === undefined) return;
    fill(Math.ceil(offset / pageBytes), Math.floor((offset + length) / pageBytes));
  }

  /** Reads pages from the image into their places in `piece`, and puts them in the cache. */
  async #readPages(first: number, count: number, piece: PooledBuffer, base: number): Promise<void> {
    const { pageBytes } = this;
    const { buffer } = piece;
    const at = piece.dataOffset + (first - base) * pageBytes;
    const fetch = new Fetch(first, count, buffer, at);
    const offset = first * pageBytes;
    const bytes = Math.min(count * pageBytes, this.sizeBytes - offset);
    this.#inFlight.beginFetch(fetch);
    let isRead = false;
    try {
      await this.image.read(buffer, at, bytes, offset);
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
      if (this.cache.has(page)) continue; // it lay between two missing ones
      this.cache.put(page, fetch.buffer, fetch.offset + i * this.pageBytes);
    }
  }

  async #join(running: Fetch, page: number, base: number, piece: PooledBuffer): Promise<void> {
    this.statistics.joinedPages++;
    const to = piece.dataOffset + (page - base) * this.pageBytes;
    const isCopied = await this.#inFlight.join(running, page, piece.buffer, to);
    // The other's read failed, perhaps for a page that is not ours: read this one alone.
    if (!isCopied) await this.#readPages(page, 1, piece, base);
  }

  #noteRead(offset: number, length: number, isMiss: boolean): void {
    const { pageBytes, readAhead } = this;
    const end = Math.ceil((offset + length) / pageBytes);
    const ahead = readAhead.note(Math.floor(offset / pageBytes), end, isMiss);
    if (ahead.count > 0) this.#readAhead(ahead.first, ahead.count);
  }

  /** Starts reading ahead, if buffers are plentiful; its failures are the later reader's to meet. */
  #readAhead(first: number, count: number): void {
    const step = PIECE_BYTES / this.pageBytes;
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
    for (let page = first; page < first + count; page++) {
      const isComing = this.#inFlight.fetchOf(page) !== undefined;
      if (!isComing && !this.cache.has(page)) absent.push(page);
    }
    return absent;
  }

  async #prefetchPiece(first: number, count: number, missing: readonly number[]): Promise<void> {
    const piece = await this.#buffers.wait(count * this.pageBytes);
    try {
      this.statistics.aheadPages += missing.length;
      await this.fetch(first * this.pageBytes, missing, piece);
    } finally {
      this.#buffers.release(piece);
    }
  }
}

/** Waits for all, then throws the first failure: no read may outlive the buffer it fills. */
async function settleAll(work: readonly Promise<void>[]): Promise<void> {
  const results = await Promise.allSettled(work);
  for (const result of results) {
    if (result.status === 'rejected') {
      throw result.reason instanceof Error
        ? result.reason
        : new TmemError('io', 'A read of the image failed.', { cause: result.reason });
    }
  }
}
