/** How many pages memory has room for, of one export. */

import type { AdvisedCache } from './advisor.ts';
import type { SampledPages } from './sampled-pages.ts';

/** Pages that are asked for at a time. */
const PROBES = 2048;
/** A page lies in two layers at most. */
const DISTINCT_SHARE_MIN = 0.5;
/**
 * What is free is for pages that take this part of their size, or more: those that came first may all
 * be zeros. As it fills, what they do take tells.
 */
const FREE_PAGE_SHARE_MIN = 1 / 3;

/**
 * The pages that the export has in memory, each counted once, and those that would fit into what is
 * free. Accounts count a page that lies in two layers twice, and those of a base image elsewhere; so
 * the pages that the largest shadow knows are looked for in memory.
 */
export class MemorySize {
  /** As of the last reading. */
  pages = 0;
  private readonly cache: AdvisedCache;
  /** Whether that was said of an empty memory, when nobody knew what a page takes. */
  private isGuess = true;
  /** What part of the pages in the account is distinct. */
  private distinctShare = 1;

  constructor(cache: AdvisedCache) {
    this.cache = cache;
  }

  /** What each of these pages takes, bytes. */
  get chargeBytes(): number {
    return this.cache.chargeBytes() / this.distinctShare;
  }

  /** Reads it anew; `known` are pages that were used lately, a sample of `rate` of them. */
  read(known: SampledPages, rate: number): number {
    const held = this.held(known, rate);
    const freePageBytes = Math.max(this.chargeBytes, this.cache.pageBytes * FREE_PAGE_SHARE_MIN);
    const free = Math.max(0, this.cache.freeBytes() / freePageBytes);
    const pages = Math.max(1, held + free);
    // Half of the way: what a sample says is not to have the shadows breathe.
    this.pages = this.isGuess ? pages : (this.pages + pages) / 2;
    this.isGuess = this.cache.heldPages() === 0;
    return this.pages;
  }

  private held(known: SampledPages, rate: number): number {
    const charged = this.cache.heldPages();
    const knownPages = known.count / rate;
    // After a warm restart memory has pages that nobody asked for yet.
    if (knownPages < charged) return charged * this.distinctShare;
    const held = knownPages * this.heldShare(known);
    if (charged > 0) {
      this.distinctShare = Math.min(1, Math.max(DISTINCT_SHARE_MIN, held / charged));
    }
    return held;
  }

  private heldShare(known: SampledPages): number {
    const stride = Math.max(1, Math.floor(known.slotsEnd / PROBES));
    let asked = 0;
    let held = 0;
    for (let slot = 0; slot < known.slotsEnd; slot += stride) {
      const page = known.pageOf(slot);
      if (page === -1) continue;
      asked++;
      if (this.cache.has(page)) held++;
    }
    return asked === 0 ? 0 : held / asked;
  }
}
