/**
 * The pages of an export as its clients see them: those that the image does not have yet, then the
 * clean ones. Everything that reads goes through here, so that no reader can find an older page.
 */

import { type GetOutcome, MISS } from '../../tmem/layer.ts';
import type { Lender } from '../../tmem/lender.ts';
import { ChainPages } from './chain-pages.ts';
import type { CleanPages } from './clean-pages.ts';
import type { DirtyTier } from './dirty-tier.ts';

export class ExportPages {
  readonly pageBytes: number;
  readonly clean: CleanPages;
  readonly dirty: DirtyTier | undefined;

  /** `dirty` only where writes are written back. */
  constructor(clean: CleanPages, dirty?: DirtyTier) {
    this.pageBytes = clean.pageBytes;
    this.clean = clean;
    this.dirty = dirty;
  }

  /** The clean pages, where they are those of several images. */
  get chain(): ChainPages | undefined {
    return this.clean instanceof ChainPages ? this.clean : undefined;
  }

  /**
   * Copies the page to `dst[dstOffset]` if it is held; at a miss `dst` is untouched. `isUse` is as in
   * `Layer.get`.
   */
  get(page: number, dst: Buffer, dstOffset: number, isUse = true): GetOutcome {
    const { dirty, clean } = this;
    if (dirty === undefined || dirty.isEmpty || !dirty.has(page)) {
      return clean.get(page, dst, dstOffset, isUse);
    }
    const outcome = dirty.get(page, dst, dstOffset);
    if (outcome !== MISS) clean.hits++;
    return outcome;
  }

  /** Whether a get would hit, or is known to fail. */
  has(page: number): boolean {
    return this.isDirty(page) || this.clean.has(page);
  }

  /** Whether the image does not have the page as it should be. */
  isDirty(page: number): boolean {
    const { dirty } = this;
    return dirty !== undefined && !dirty.isEmpty && dirty.has(page);
  }

  /** The layer that lends, to read and return loans. */
  get lender(): Lender | undefined {
    return this.clean.lender;
  }

  /** Lends the page where a layer can; NO_LOAN otherwise. */
  lend(page: number, isUse = true): number {
    const { dirty, clean } = this;
    return dirty !== undefined && this.isDirty(page) ? dirty.lend(page) : clean.lend(page, isUse);
  }
}
