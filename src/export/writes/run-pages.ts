/**
 * The pages of one write of the writer: dirty ones, and clean ones that lie between them. A disk
 * takes one write of some pages more sooner than two, so while somebody waits, small gaps between
 * dirty pages are closed with what the image has there already, if it is in memory.
 *
 * A clean page is never at either end, and none is of same-filled bytes: the image may not store
 * those at all, and would begin to.
 */

import type { PooledBuffer } from '../../lib/buffer-pool.ts';
import { MISS } from '../../tmem/layer.ts';
import { NO_SLOT } from '../../tmem/page-index.ts';
import type { CleanPages } from '../pages/clean-pages.ts';
import type { DirtyTier } from '../pages/dirty-tier.ts';
import type { PageLocks } from './page-locks.ts';

/** Bytes of clean pages between two dirty ones, at most. */
const GAP_BYTES_MAX = 16 * 1024;

export interface RunPagesOptions {
  readonly tier: DirtyTier;
  readonly clean: Pick<CleanPages, 'hasBytes' | 'copy'>;
  readonly pageBytes: number;
  /** Pages of a run, at most. */
  readonly pagesMax: number;
  /** The entry of a page that may be taken now, or NO_SLOT. */
  readonly takeable: (page: number) => number;
  readonly locks: PageLocks;
}

/** Reused from run to run. */
export class RunPages {
  /** The pages are `[first, end)`. */
  first = 0;
  end = 0;
  readonly #options: RunPagesOptions;
  readonly #gapPagesMax: number;
  /** By the distance from `#base`: the entry, NO_SLOT for a clean page; and its version. */
  readonly #slots: Int32Array;
  readonly #versions: Float64Array;
  #base = 0;

  constructor(options: RunPagesOptions) {
    this.#options = options;
    this.#gapPagesMax = Math.floor(GAP_BYTES_MAX / options.pageBytes);
    this.#slots = new Int32Array(2 * options.pagesMax);
    this.#versions = new Float64Array(2 * options.pagesMax);
  }

  get count(): number {
    return this.end - this.first;
  }

  /** Whether there are clean pages among them. */
  get hasClean(): boolean {
    for (let page = this.first; page < this.end; page++) {
      if (this.slotOf(page) === NO_SLOT) return true;
    }
    return false;
  }

  /** The entry of a page of the run; NO_SLOT if it is clean. */
  slotOf(page: number): number {
    return this.#slots[page - this.#base]!;
  }

  /** The version in which `take` took a dirty page. */
  versionOf(page: number): number {
    return this.#versions[page - this.#base]!;
  }

  /** Whether the run has a page of `[first, first + count)`. */
  overlaps(first: number, count: number): boolean {
    return this.first < first + count && first < this.end;
  }

  /**
   * At most `mostPages` pages around `page`, which may be taken; those behind it first. One that the
   * image refused before goes alone: it may have been one of many that the image can not take.
   */
  gather(page: number, mostPages: number, mayCloseGaps: boolean): void {
    const { tier, takeable } = this.#options;
    const gapMax = mayCloseGaps ? this.#gapPagesMax : 0;
    const slot = takeable(page);
    const pagesMax = tier.table.isRetried(slot) ? 1 : mostPages;
    this.#base = page - this.#options.pagesMax;
    this.end = page;
    this.first = page;
    for (let next = page; next >= 0; ) {
      this.end = next + 1;
      next = this.#nextDirty(this.end, 1, Math.min(gapMax, pagesMax - this.count - 1));
    }
    for (let next = page; next >= 0; ) {
      this.first = next;
      next = this.#nextDirty(next - 1, -1, Math.min(gapMax, pagesMax - this.count - 1));
    }
    this.#slots[page - this.#base] = slot;
  }

  /**
   * Copies the pages to `piece`, as far as all can be read from `page` on, in both directions; the
   * others are left out. Answers where in its buffer they begin, or -1 when even that one was lost.
   */
  copy(page: number, piece: PooledBuffer): number {
    const { first, end } = this;
    this.end = page;
    while (this.end < end && this.#copyPage(this.end, first, piece)) this.end++;
    if (this.end === page) return -1;
    this.first = page;
    while (this.first > first && this.#copyPage(this.first - 1, first, piece)) this.first--;
    while (this.slotOf(this.end - 1) === NO_SLOT) this.end--;
    while (this.slotOf(this.first) === NO_SLOT) this.first++;
    return this.#placeOf(this.first, first, piece);
  }

  /** Notes the dirty pages as being written, in the version that they have now. */
  take(): void {
    const { table } = this.#options.tier;
    for (let page = this.first; page < this.end; page++) {
      const slot = this.slotOf(page);
      if (slot === NO_SLOT) continue;
      this.#versions[page - this.#base] = table.versionOf(slot);
      table.beginWrite(slot);
    }
  }

  /** The first page from `page` on, in steps, that may be taken, behind so many clean ones; or -1. */
  #nextDirty(page: number, step: number, gapMax: number): number {
    const { tier, takeable, locks, clean } = this.#options;
    for (let next = page; next >= 0 && (next - page) * step <= gapMax; next += step) {
      const slot = takeable(next);
      this.#slots[next - this.#base] = slot;
      if (slot !== NO_SLOT) return tier.table.isRetried(slot) ? -1 : next;
      // Whoever holds a lock is about to change the page, and does not wait for writes that begin now.
      if (locks.isHeld(next) || !clean.hasBytes(next)) return -1;
    }
    return -1;
  }

  #copyPage(page: number, first: number, piece: PooledBuffer): boolean {
    const { tier, clean } = this.#options;
    const from = this.slotOf(page) === NO_SLOT ? clean : tier;
    return from.copy(page, piece.buffer, this.#placeOf(page, first, piece)) !== MISS;
  }

  #placeOf(page: number, first: number, piece: PooledBuffer): number {
    return piece.dataOffset + (page - first) * this.#options.pageBytes;
  }
}
