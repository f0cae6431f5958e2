/**
 * Pages that a write covers in part: what they have besides is put around the written bytes, so
 * that whole pages are stored. Whoever calls holds the lock of the pages: nobody changes them
 * between the reading and the storing.
 */

import type { BlockImage } from '../../image/image.ts';
import type { BufferPool, PooledBuffer } from '../../lib/buffer-pool.ts';
import { MISS } from '../../tmem/layer.ts';
import { lostPage } from '../pages/dirty-tier.ts';
import type { ExportPages } from '../pages/pages.ts';

export interface PageMergeOptions {
  readonly image: BlockImage;
  readonly pages: ExportPages;
  /** Not of the requests' own pool: those who wait there may all hold one and want another. */
  readonly buffers: BufferPool;
}

export class PageMerge {
  /** Pages read from the image because a write covered them in part. */
  pageCount = 0;
  readonly #options: PageMergeOptions;
  readonly #pageBytes: number;

  constructor(options: PageMergeOptions) {
    this.#options = options;
    this.#pageBytes = options.pages.pageBytes;
  }

  /** Completes the first and the last page of a write, which lies in `piece` at its place. */
  async complete(offset: number, length: number, piece: PooledBuffer): Promise<void> {
    const pageBytes = this.#pageBytes;
    const end = offset + length;
    const first = Math.floor(offset / pageBytes);
    const last = Math.floor((end - 1) / pageBytes);
    const hasHead = offset % pageBytes !== 0;
    const hasTail = end % pageBytes !== 0;
    if (hasHead) await this.#complete(first, first, offset, end, piece);
    if (hasTail && !(hasHead && first === last)) {
      await this.#complete(last, first, offset, end, piece);
    }
  }

  /** Copies a page that the image does not have. Throws for one that was lost in memory. */
  readDirty(page: number, dst: Buffer, dstOffset: number): void {
    const { pages, image } = this.#options;
    if (pages.get(page, dst, dstOffset) === MISS) {
      throw lostPage(image.name, page * this.#pageBytes);
    }
  }

  async #complete(
    page: number,
    first: number,
    offset: number,
    end: number,
    piece: PooledBuffer,
  ): Promise<void> {
    const { buffers, image } = this.#options;
    const pageBytes = this.#pageBytes;
    const start = page * pageBytes;
    const from = Math.max(0, offset - start);
    const to = Math.min(pageBytes, end - start);
    const place = piece.dataOffset + (page - first) * pageBytes;
    if (from === 0 && end === image.virtualSizeBytes) {
      piece.buffer.fill(0, place + to, place + pageBytes); // nothing of the image is behind it
      return;
    }
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

  /** The page as it is now. */
  async #readWhole(page: number, into: PooledBuffer): Promise<void> {
    const { pages, image } = this.#options;
    const pageBytes = this.#pageBytes;
    if (pages.isDirty(page)) {
      this.readDirty(page, into.buffer, into.dataOffset);
      return;
    }
    if (pages.get(page, into.buffer, into.dataOffset) !== MISS) return;
    const offset = page * pageBytes;
    const bytes = Math.min(pageBytes, image.virtualSizeBytes - offset);
    await image.read(into.buffer, into.dataOffset, bytes, offset);
    into.buffer.fill(0, into.dataOffset + bytes, into.dataOffset + pageBytes);
    this.pageCount++;
  }
}
