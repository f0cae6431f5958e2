/**
 * Write-back: a write is a put into the frontswap tier, and answered from there; a writer brings it
 * to the image later. A put that is refused goes to the image before the write is answered, behind
 * any older version of the page that is on its way there.
 *
 * Whoever changes a page in steps holds its lock: a write that must first read the rest of a page,
 * one that goes to the image itself, a trim, a zeroing. The writer leaves locked pages alone.
 */

import type { BlockImage } from '../image/image.ts';
import type { BufferPool, PooledBuffer } from '../lib/buffer-pool.ts';
import { MISS } from '../tmem/layer.ts';
import type { Clock } from './clock.ts';
import { type DirtyTier, lostPage } from './dirty-tier.ts';
import type { InFlight } from './in-flight.ts';
import { type PageLock, PageLocks } from './page-locks.ts';
import type { ExportPages } from './pages.ts';
import type { WritePath } from './write-path.ts';
import { type WriteFailure, Writer, type WriterTuning } from './writer.ts';

/** After a refusal the limit falls to this share of what was dirty then. */
const CEILING_FALL = 0.9;
/** Without a refusal for so long it may rise again, milliseconds; by this share at a time. */
const CEILING_CALM_MS = 1000;
const CEILING_RISE = 1.125;
/** It does not fall below so many pages: they are what a few requests bring. */
const CEILING_PAGES_MIN = 256;

export interface WriteBackOptions {
  readonly image: BlockImage;
  readonly pages: ExportPages;
  readonly tier: DirtyTier;
  readonly inFlight: InFlight;
  /** For requests. */
  readonly buffers: BufferPool;
  /** For the writer, and for pages that are merged; whoever holds one waits for no other. */
  readonly writerBuffers: BufferPool;
  readonly clock: Clock;
  readonly tuning: WriterTuning;
  readonly onFailure: (failure: WriteFailure) => void;
}

/** Counters of the path, plain fields. */
export interface WriteBackStatistics {
  /** Pages that were refused and went to the image before their write was answered. */
  fallThroughPages: number;
  /** Pages read from the image because a write covered them in part. */
  mergedPages: number;
  /** Writes that waited because there were too many dirty pages. */
  waits: number;
}

export class WriteBack implements WritePath {
  readonly writer: Writer;
  readonly tier: DirtyTier;
  readonly statistics: WriteBackStatistics = { fallThroughPages: 0, mergedPages: 0, waits: 0 };

  readonly #options: WriteBackOptions;
  readonly #pageBytes: number;
  readonly #locks: PageLocks;
  /** Pages that a write covers in part, while it is merged into them. */
  readonly #head: Buffer;
  readonly #tail: Buffer;
  /** A buffer in reserve, so that a write which was taken and then refused has a place to lie. */
  #spare: PooledBuffer | undefined;
  #ceiling: number;
  #refusedAt = Number.NEGATIVE_INFINITY;
  #waiting: (() => void)[] = [];

  constructor(options: WriteBackOptions) {
    const { image, tier, inFlight, writerBuffers, clock, tuning } = options;
    this.#options = options;
    this.#pageBytes = options.pages.pageBytes;
    this.tier = tier;
    this.#ceiling = tier.table.capacity;
    this.#head = Buffer.alloc(this.#pageBytes);
    this.#tail = Buffer.alloc(this.#pageBytes);
    this.#locks = new PageLocks(() => this.writer.kick());
    this.writer = new Writer({
      image,
      tier,
      locks: this.#locks,
      inFlight,
      buffers: writerBuffers,
      pageBytes: this.#pageBytes,
      clock,
      tuning,
      limitPages: () => this.limitPages,
      onProgress: () => this.#resumeWaiting(),
      onFailure: options.onFailure,
    });
  }

  /** Dirty pages that there may be now: the limit that was set, or what memory was seen to take. */
  get limitPages(): number {
    return Math.min(this.#ceiling, this.tier.table.capacity);
  }

  tryWrite(
    offset: number,
    length: number,
    src: Buffer,
    srcOffset: number,
  ): boolean | Promise<void> {
    const pageBytes = this.#pageBytes;
    const { pages, inFlight } = this.#options;
    const first = Math.floor(offset / pageBytes);
    const end = offset + length;
    const count = Math.ceil(end / pageBytes) - first;
    if (!this.#hasRoom(count) || !this.#locks.isFree(first, count)) return false;
    const spare = this.#takeSpare(count * pageBytes);
    if (spare === undefined) return false;
    // What a page has beside the written bytes must be at hand, before anything is put.
    const last = first + count - 1;
    const hasHead = offset % pageBytes !== 0;
    const hasTail = end % pageBytes !== 0 && !(hasHead && last === first);
    if (hasHead && pages.get(first, this.#head, 0) === MISS) return false;
    if (hasTail && pages.get(last, this.#tail, 0) === MISS) return false;
    let refusedCount = 0;
    for (let page = first; page < first + count; page++) {
      const start = page * pageBytes;
      const from = Math.max(offset, start);
      const to = Math.min(end, start + pageBytes);
      let bytes = src;
      let at = srcOffset + from - offset;
      if (to - from < pageBytes) {
        bytes = hasHead && page === first ? this.#head : this.#tail;
        src.copy(bytes, from - start, at, at + to - from);
        at = 0;
      }
      if (this.#put(page, bytes, at)) continue;
      const place = spare.dataOffset + (page - first) * pageBytes;
      bytes.copy(spare.buffer, place, at, at + pageBytes);
      this.tier.hold(page, spare.buffer, place);
      refusedCount++;
    }
    inFlight.touch(first, count);
    if (refusedCount === 0) {
      this.writer.noteWritten();
      return true;
    }
    this.#spare = undefined;
    return this.#fallThroughFrom(spare, first, count);
  }

  async write(offset: number, length: number, piece: PooledBuffer): Promise<void> {
    if (length === 0) return;
    const pageBytes = this.#pageBytes;
    const first = Math.floor(offset / pageBytes);
    const count = Math.ceil((offset + length) / pageBytes) - first;
    await this.#waitForRoom(count);
    const lock = await this.#locks.acquire(first, count);
    try {
      await this.#mergeEdges(offset, length, piece);
      let refusedCount = 0;
      for (let page = first; page < first + count; page++) {
        const at = piece.dataOffset + (page - first) * pageBytes;
        if (this.#put(page, piece.buffer, at)) continue;
        this.tier.hold(page, piece.buffer, at);
        refusedCount++;
      }
      this.#options.inFlight.touch(first, count);
      if (refusedCount > 0) await this.#fallThrough(first, count, piece);
    } finally {
      this.#locks.release(lock);
    }
    this.writer.noteWritten();
  }

  async writeZeroes(
    offset: number,
    length: number,
    mayDiscard: boolean,
    mustBeFast: boolean,
  ): Promise<void> {
    const { image } = this.#options;
    await this.#change(offset, length, true, () =>
      image.writeZeroes(offset, length, mayDiscard, mustBeFast),
    );
  }

  async trim(offset: number, length: number): Promise<void> {
    const { image } = this.#options;
    await this.#change(offset, length, false, () => image.discard(offset, length));
  }

  /** Memory is short: about so many bytes of dirty pages should become clean soon. */
  reduce(bytes: number): void {
    const pages = Math.ceil(bytes / this.#pageBytes);
    this.#ceiling = Math.max(CEILING_PAGES_MIN, this.tier.table.count - pages);
    this.#refusedAt = this.#options.clock.now();
    this.writer.kick();
  }

  async sync(): Promise<void> {
    await this.writer.flush();
    await this.#options.image.sync();
  }

  close(): void {
    this.writer.close();
    this.#resumeWaiting();
  }

  /**
   * Changes a range of the image itself. What is dirty in it stays readable until the image has
   * changed, and is dropped then; nothing of it is on its way there meanwhile.
   */
  async #change(
    offset: number,
    length: number,
    isZeroed: boolean,
    act: () => Promise<void>,
  ): Promise<void> {
    if (length === 0) return;
    const { inFlight, pages } = this.#options;
    const pageBytes = this.#pageBytes;
    const first = Math.floor(offset / pageBytes);
    const count = Math.ceil((offset + length) / pageBytes) - first;
    const lock = await this.#locks.acquire(first, count);
    const change = inFlight.beginChange(first, count);
    try {
      pages.clean.flush(first, count);
      await this.writer.settled(first, count);
      await act();
      pages.clean.flush(first, count); // what became clean while it was waited for
      const wholeEnd = Math.floor(this.#paddedEnd(offset, length) / pageBytes);
      this.#dropRange(Math.ceil(offset / pageBytes), wholeEnd);
      if (isZeroed) await this.#zeroEdges(offset, length);
    } finally {
      inFlight.endChange(change);
      this.#locks.release(lock);
      this.#resumeWaiting();
    }
  }

  /** The end of a range, or of its last page where that reaches behind the end of the image. */
  #paddedEnd(offset: number, length: number): number {
    const end = offset + length;
    if (end < this.#options.image.virtualSizeBytes) return end;
    return Math.ceil(end / this.#pageBytes) * this.#pageBytes;
  }

  #dropRange(first: number, end: number): void {
    const { table } = this.tier;
    if (end - first <= table.count) {
      for (let page = first; page < end; page++) this.tier.drop(page);
      return;
    }
    for (const page of table.pagesIn(first, end)) this.tier.drop(page);
  }

  /** Dirty pages that a zeroed range covers in part get their zeros too. */
  async #zeroEdges(offset: number, length: number): Promise<void> {
    const pageBytes = this.#pageBytes;
    const end = offset + length;
    const edges = new Set([Math.floor(offset / pageBytes), Math.floor((end - 1) / pageBytes)]);
    for (const page of edges) {
      if (!this.tier.has(page)) continue;
      const start = page * pageBytes;
      const piece = await this.#options.writerBuffers.wait(pageBytes);
      try {
        this.#readDirty(page, piece.buffer, piece.dataOffset);
        const from = Math.max(0, offset - start);
        const to = Math.min(pageBytes, end - start);
        piece.buffer.fill(0, piece.dataOffset + from, piece.dataOffset + to);
        if (this.#put(page, piece.buffer, piece.dataOffset)) continue;
        this.tier.hold(page, piece.buffer, piece.dataOffset);
        await this.#fallThrough(page, 1, piece);
      } finally {
        this.#options.writerBuffers.release(piece);
      }
    }
  }

  #readDirty(page: number, dst: Buffer, dstOffset: number): void {
    if (this.tier.get(page, dst, dstOffset) !== MISS) return;
    throw lostPage(this.#options.image.name, page * this.#pageBytes);
  }

  /** Puts around the bytes in `piece` what their first and last page have besides. */
  async #mergeEdges(offset: number, length: number, piece: PooledBuffer): Promise<void> {
    const pageBytes = this.#pageBytes;
    const end = offset + length;
    const first = Math.floor(offset / pageBytes);
    const last = Math.floor((end - 1) / pageBytes);
    const hasHead = offset % pageBytes !== 0;
    const hasTail = end % pageBytes !== 0;
    if (hasHead) await this.#merge(first, first, offset, end, piece);
    if (hasTail && !(hasHead && first === last)) await this.#merge(last, first, offset, end, piece);
  }

  async #merge(
    page: number,
    first: number,
    offset: number,
    end: number,
    piece: PooledBuffer,
  ): Promise<void> {
    // Not of the requests' own pool: those who wait there may all hold one and want another.
    const { writerBuffers: buffers } = this.#options;
    const pageBytes = this.#pageBytes;
    const start = page * pageBytes;
    const from = Math.max(0, offset - start);
    const to = Math.min(pageBytes, end - start);
    const place = piece.dataOffset + (page - first) * pageBytes;
    const whole = await buffers.wait(pageBytes);
    try {
      await this.#readWhole(page, whole);
      const { buffer, dataOffset } = whole;
      buffer.copy(piece.buffer, place, dataOffset, dataOffset + from);
      buffer.copy(piece.buffer, place + to, dataOffset + to, dataOffset + pageBytes);
    } finally {
      buffers.release(whole);
    }
  }

  /** The page as it is now; its lock is held, so nobody writes it meanwhile. */
  async #readWhole(page: number, into: PooledBuffer): Promise<void> {
    const { pages, image } = this.#options;
    const pageBytes = this.#pageBytes;
    if (pages.isDirty(page)) {
      this.#readDirty(page, into.buffer, into.dataOffset);
      return;
    }
    if (pages.get(page, into.buffer, into.dataOffset) !== MISS) return;
    const offset = page * pageBytes;
    const bytes = Math.min(pageBytes, image.virtualSizeBytes - offset);
    await image.read(into.buffer, into.dataOffset, bytes, offset);
    into.buffer.fill(0, into.dataOffset + bytes, into.dataOffset + pageBytes);
    this.statistics.mergedPages++;
  }

  #put(page: number, src: Buffer, srcOffset: number): boolean {
    const { clock } = this.#options;
    const now = clock.now();
    if (this.tier.put(page, src, srcOffset, now)) return true;
    const { table } = this.tier;
    if (table.count < this.limitPages) {
      this.#ceiling = Math.max(CEILING_PAGES_MIN, Math.floor(table.count * CEILING_FALL));
      this.#refusedAt = now;
    }
    this.statistics.fallThroughPages++;
    return false;
  }

  async #fallThroughFrom(piece: PooledBuffer, first: number, count: number): Promise<void> {
    let lock: PageLock | undefined;
    try {
      lock = await this.#locks.acquire(first, count); // free, so it is held at once
      await this.#fallThrough(first, count, piece);
    } finally {
      if (lock !== undefined) this.#locks.release(lock);
      this.#options.buffers.release(piece);
    }
  }

  /** Writes the held pages of a locked range, which lie in `piece`, to the image. */
  async #fallThrough(first: number, count: number, piece: PooledBuffer): Promise<void> {
    const { image, inFlight, clock } = this.#options;
    const pageBytes = this.#pageBytes;
    const change = inFlight.beginChange(first, count);
    let page = first;
    try {
      await this.writer.settled(first, count);
      while (page < first + count) {
        if (!this.tier.isHeld(page)) {
          page++;
          continue;
        }
        let end = page + 1;
        while (end < first + count && this.tier.isHeld(end)) end++;
        const offset = page * pageBytes;
        const bytes = Math.min((end - page) * pageBytes, image.virtualSizeBytes - offset);
        await image.write(
          piece.buffer,
          piece.dataOffset + (page - first) * pageBytes,
          bytes,
          offset,
        );
        for (; page < end; page++) this.tier.releaseWritten(page);
      }
    } finally {
      for (; page < first + count; page++) {
        if (this.tier.isHeld(page)) this.tier.releaseFailed(page, clock.now());
      }
      inFlight.endChange(change);
    }
  }

  #takeSpare(bytes: number): PooledBuffer | undefined {
    const { buffers } = this.#options;
    this.#spare ??= buffers.take(this.#pageBytes);
    const spare = this.#spare;
    return spare !== undefined && bytes <= spare.dataBytes ? spare : undefined;
  }

  #hasRoom(count: number): boolean {
    if (this.#waiting.length > 0) return false;
    const { table } = this.tier;
    return table.count + count <= this.limitPages;
  }

  /** Waits until so many pages may become dirty, or until waiting can not help. */
  async #waitForRoom(count: number): Promise<void> {
    this.#raiseCeiling();
    const wanted = Math.min(count, this.limitPages);
    const { table } = this.tier;
    let isFirst = true;
    while (table.count + wanted > this.limitPages) {
      this.writer.kick();
      if (!this.writer.canProgress) return;
      if (isFirst) this.statistics.waits++;
      isFirst = false;
      await new Promise<void>((resume) => this.#waiting.push(resume));
    }
  }

  #resumeWaiting(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resume of waiting) resume();
  }

  /** Memory may take more than it did when it last refused: try a little more. */
  #raiseCeiling(): void {
    const { capacity, count } = this.tier.table;
    if (this.#ceiling >= capacity || count < this.#ceiling) return;
    if (this.#options.clock.now() - this.#refusedAt < CEILING_CALM_MS) return;
    this.#ceiling = Math.min(capacity, Math.ceil(this.#ceiling * CEILING_RISE));
    this.#refusedAt = this.#options.clock.now();
  }
}
