/**
 * Write-back: a write is a put into the frontswap tier, and answered from there; a writer brings it
 * to the image later. A put that is refused goes to the image before the write is answered, behind
 * any older version of the page that is on its way there.
 *
 * Whoever changes a page in steps holds its lock: a write that must first read the rest of a page,
 * one that goes to the image itself, a trim, a zeroing. The writer leaves locked pages alone. Who
 * holds a lock waits for the image and for buffers of the writers, never for room.
 */

import type { BlockImage } from '../../image/image.ts';
import { alignedBuffer } from '../../lib/aligned-buffer.ts';
import type { BufferPool, PooledBuffer } from '../../lib/buffer-pool.ts';
import type { Clock } from '../../lib/clock.ts';
import { turnOfTheLoop } from '../../lib/turn-of-the-loop.ts';
import { MISS } from '../../tmem/layer.ts';
import type { InFlight } from '../in-flight.ts';
import type { DirtyTier } from '../pages/dirty-tier.ts';
import type { ExportPages } from '../pages/pages.ts';
import { DirtyRoom } from './dirty-room.ts';
import { FallThrough } from './fall-through.ts';
import { PageLocks } from './page-locks.ts';
import { PageMerge } from './page-merge.ts';
import type { WritePath } from './write-path.ts';
import { type WriteFailure, Writer } from './writer.ts';
import type { WriterTuning } from './writer-plan.ts';

/** Longer writes are not taken in the turn in which they come; it has room for two pages at least. */
const SPARE_BYTES = 64 * 1024;

/** Pages of a trimmed range, or of the table, that are looked at in one turn of the event loop. */
const TRIES_PER_TURN = 4096;
/** What an entry of the table that is free costs of a try: after a peak nearly all may be. */
const FREE_ENTRY_COST = 1 / 32;

export interface WriteBackOptions {
  readonly image: BlockImage;
  readonly pages: ExportPages;
  readonly tier: DirtyTier;
  readonly inFlight: InFlight;
  /** For the writer, and for pages that are merged; whoever holds one waits for no other. */
  readonly writerBuffers: BufferPool;
  readonly clock: Clock;
  readonly tuning: WriterTuning;
  readonly onFailure: (failure: WriteFailure) => void;
}

/** Counters of the path, plain fields. */
export interface WriteBackStatistics {
  /** Pages that were refused and went to the image before their write was answered. */
  readonly fallThroughPages: number;
  /** Pages read from the image because a write covered them in part. */
  readonly mergedPages: number;
  /** Writes that waited because there were too many dirty pages. */
  readonly waits: number;
}

export class WriteBack implements WritePath {
  readonly writer: Writer;
  readonly tier: DirtyTier;

  readonly #options: WriteBackOptions;
  readonly #pageBytes: number;
  readonly #locks: PageLocks;
  readonly #room: DirtyRoom;
  readonly #merge: PageMerge;
  readonly #fallThrough: FallThrough;
  /** Pages that a write covers in part, while it is merged into them. */
  readonly #head: Buffer;
  readonly #tail: Buffer;
  /** In reserve, so that a write which was taken and then refused has a place to lie. */
  readonly #spare: PooledBuffer;

  constructor(options: WriteBackOptions) {
    const { image, tier, inFlight, pages, writerBuffers: buffers, clock, tuning } = options;
    const { pageBytes } = pages;
    this.#options = options;
    this.#pageBytes = pageBytes;
    this.tier = tier;
    this.#head = Buffer.alloc(pageBytes);
    this.#tail = Buffer.alloc(pageBytes);
    const dataBytes = Math.max(SPARE_BYTES, 2 * pageBytes);
    this.#spare = { buffer: alignedBuffer(dataBytes), dataOffset: 0, dataBytes, isLent: false };
    this.#locks = new PageLocks(() => {
      this.writer.kick();
      this.#room.letIn();
    });
    this.#room = new DirtyRoom({
      table: tier.table,
      clock,
      kick: () => this.writer.kick(),
      canProgress: () => this.writer.canProgress,
    });
    this.writer = new Writer({
      ...{ image, tier, inFlight, buffers, pageBytes, clock, tuning },
      clean: pages.clean,
      locks: this.#locks,
      room: this.#room,
      onFailure: options.onFailure,
    });
    this.#merge = new PageMerge({ image, pages, buffers });
    const { writer } = this;
    this.#fallThrough = new FallThrough({ image, tier, inFlight, clock, writer, room: this.#room });
  }

  /** Dirty pages that there may be now: the limit that was set, or what memory was seen to take. */
  get limitPages(): number {
    return this.#room.limitPages;
  }

  get statistics(): WriteBackStatistics {
    return {
      fallThroughPages: this.#fallThrough.pageCount,
      mergedPages: this.#merge.pageCount,
      waits: this.#room.waitCount,
    };
  }

  tryWrite(
    offset: number,
    length: number,
    src: Buffer,
    srcOffset: number,
  ): boolean | Promise<void> {
    const pageBytes = this.#pageBytes;
    const spare = this.#spare;
    const first = Math.floor(offset / pageBytes);
    const end = offset + length;
    const count = Math.ceil(end / pageBytes) - first;
    if (spare.isLent || count * pageBytes > spare.dataBytes) return false;
    if (!this.#room.has(first, count) || !this.#locks.isFree(first, count)) return false;
    if (!this.#readEdges(offset, end)) return false;
    const hasHead = offset % pageBytes !== 0;
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
      if (this.#fallThrough.put(page, bytes, at)) continue;
      const place = spare.dataOffset + (page - first) * pageBytes;
      bytes.copy(spare.buffer, place, at, at + pageBytes);
      this.tier.hold(page, spare.buffer, place);
      refusedCount++;
    }
    this.#options.inFlight.touch(first, count);
    if (refusedCount > 0) return this.#writeSpare(first, count);
    this.writer.noteWritten();
    return true;
  }

  async write(offset: number, length: number, piece: PooledBuffer): Promise<void> {
    if (length === 0) return;
    const pageBytes = this.#pageBytes;
    const first = Math.floor(offset / pageBytes);
    const count = Math.ceil((offset + length) / pageBytes) - first;
    let reserved = await this.#room.enter(first, count);
    const lock = await this.#locks.acquire(first, count);
    try {
      await this.#merge.complete(offset, length, piece);
      let refusedCount = 0;
      for (let page = first; page < first + count; page++) {
        const at = piece.dataOffset + (page - first) * pageBytes;
        if (this.#fallThrough.put(page, piece.buffer, at)) continue;
        this.tier.hold(page, piece.buffer, at);
        refusedCount++;
      }
      this.#options.inFlight.touch(first, count);
      this.#room.giveBack(reserved);
      reserved = 0;
      if (refusedCount > 0) await this.#fallThrough.write(first, count, piece);
    } finally {
      this.#room.giveBack(reserved);
      this.#locks.release(lock); // the writer looks whether there is something to write
    }
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
    this.#room.reduce(Math.ceil(bytes / this.#pageBytes));
  }

  /** No more dirty pages than that should there be soon. */
  reduceTo(pages: number): void {
    this.#room.reduceTo(pages);
  }

  /** Why there should be fewer dirty pages is gone. */
  restoreLimit(): void {
    this.#room.restore();
  }

  async sync(): Promise<void> {
    // What could be written is synced, whatever could not.
    const [flushed] = await Promise.allSettled([this.writer.flush()]);
    await this.#options.image.sync();
    if (flushed.status === 'rejected') throw flushed.reason;
  }

  close(): void {
    this.writer.close();
    this.#room.letIn();
  }

  /**
   * Has at hand what the first and the last page have beside the bytes of a write, before anything
   * is put; no if it is not in memory.
   */
  #readEdges(offset: number, end: number): boolean {
    const pageBytes = this.#pageBytes;
    const { pages, image } = this.#options;
    const first = Math.floor(offset / pageBytes);
    const last = Math.floor((end - 1) / pageBytes);
    const hasHead = offset % pageBytes !== 0;
    if (hasHead && pages.get(first, this.#head, 0) === MISS) return false;
    if (end % pageBytes === 0 || (hasHead && last === first)) return true;
    if (end < image.virtualSizeBytes) return pages.get(last, this.#tail, 0) !== MISS;
    this.#tail.fill(0);
    return true;
  }

  /** Writes the refused pages that were copied to the spare buffer. */
  async #writeSpare(first: number, count: number): Promise<void> {
    this.#spare.isLent = true;
    const lock = this.#locks.take(first, count);
    try {
      await this.#fallThrough.write(first, count, this.#spare);
    } finally {
      this.#spare.isLent = false;
      this.#locks.release(lock);
    }
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
    const { image, inFlight, pages } = this.#options;
    const pageBytes = this.#pageBytes;
    const first = Math.floor(offset / pageBytes);
    const count = Math.ceil((offset + length) / pageBytes) - first;
    const lock = await this.#locks.acquire(first, count);
    const change = inFlight.beginChange(first, count);
    try {
      await this.writer.settled(first, count);
      // What became clean while it was waited for, too.
      await pages.clean.flushInTurns(first, count);
      await act();
      if (isZeroed || image.formatName === 'raw') await this.#dropWhole(offset, offset + length);
      else await this.#dropGivenUp(offset, offset + length);
      if (isZeroed) await this.#zeroEdges(offset, length);
    } finally {
      pages.clean.claim?.(first, count);
      inFlight.endChange(change);
      this.#locks.release(lock);
    }
  }

  /**
   * Drops what is dirty in a discarded range where the image reads as zeros now. A format gives up whole
   * units, and not every one can: what it keeps, or has below, is older than what is dirty.
   */
  async #dropGivenUp(offset: number, end: number): Promise<void> {
    const { image } = this.#options;
    for (let at = offset; at < end; ) {
      const { length, isZero } = await image.extent(at, end - at);
      if (isZero) await this.#dropWhole(at, at + length);
      at += length;
    }
  }

  /** Drops the dirty pages that lie in the range as a whole, or up to the end of the image. */
  #dropWhole(offset: number, end: number): Promise<void> {
    const pageBytes = this.#pageBytes;
    const isEnd = end === this.#options.image.virtualSizeBytes;
    const endPage = isEnd ? Math.ceil(end / pageBytes) : Math.floor(end / pageBytes);
    return this.#dropRange(Math.ceil(offset / pageBytes), endPage);
  }

  /** Drops what is dirty in a range that is locked, so that nothing of it becomes dirty meanwhile. */
  async #dropRange(first: number, end: number): Promise<void> {
    const { table } = this.tier;
    const isSparse = end - first > table.slotCount;
    const tries = isSparse ? table.slotCount : end - first;
    let left = TRIES_PER_TURN;
    for (let i = 0; i < tries && table.count > 0; i++) {
      const page = isSparse ? table.pageIn(i) : first + i;
      if (page >= first && page < end) this.tier.drop(page);
      left -= page < 0 ? FREE_ENTRY_COST : 1;
      if (left > 0) continue;
      left = TRIES_PER_TURN;
      await turnOfTheLoop();
    }
  }

  /** Dirty pages that a zeroed range covers in part get their zeros too. */
  async #zeroEdges(offset: number, length: number): Promise<void> {
    const { writerBuffers } = this.#options;
    const pageBytes = this.#pageBytes;
    const end = offset + length;
    const edges = new Set([Math.floor(offset / pageBytes), Math.floor((end - 1) / pageBytes)]);
    for (const page of edges) {
      if (!this.tier.has(page)) continue;
      const start = page * pageBytes;
      const piece = await writerBuffers.wait(pageBytes);
      const { buffer, dataOffset } = piece;
      try {
        this.#merge.readDirty(page, buffer, dataOffset);
        const from = Math.max(0, offset - start);
        buffer.fill(0, dataOffset + from, dataOffset + Math.min(pageBytes, end - start));
        if (this.#fallThrough.put(page, buffer, dataOffset)) continue;
        this.tier.hold(page, buffer, dataOffset);
        await this.#fallThrough.write(page, 1, piece);
      } finally {
        writerBuffers.release(piece);
      }
    }
  }
}
