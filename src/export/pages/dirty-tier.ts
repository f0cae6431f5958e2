/**
 * The pages of an export that its image does not have yet: their bytes in the frontswap tier, their
 * order in the table of dirty pages. A page that no layer takes is kept for a moment in the buffer
 * of the request that brought it, while it is written to the image; readers find it there.
 */

import { TmemError } from '../../lib/errors.ts';
import type { Frontswap } from '../../tmem/frontswap.ts';
import { type GetOutcome, HIT, isRefused, MISS } from '../../tmem/layer.ts';
import { NO_LOAN } from '../../tmem/lender.ts';
import { NO_SLOT } from '../../tmem/page-index.ts';
import type { CleanPages } from './clean-pages.ts';
import { DirtyPages } from './dirty-pages.ts';
import { StrandedPages } from './stranded-pages.ts';

/** Where the bytes of a refused page lie until the image has them. */
interface Held {
  readonly buffer: Buffer;
  readonly offset: number;
}

/** How long after the image refused a page an older version is kept until a newer one is safe. */
const CAUTION_MS = 60_000;

export class DirtyTier {
  readonly table: DirtyPages;
  readonly frontswap: Frontswap;
  /** Pages that the image got since the start. */
  writtenCount = 0;
  readonly #clean: CleanPages;
  readonly #pageBytes: number;
  readonly #held = new Map<number, Held>();
  /** Held pages whose older version is here all the same. */
  readonly #kept = new Set<number>();
  /** Of the dirty pages those that frontswap did not take back. */
  readonly #stranded: StrandedPages;
  readonly #older: Buffer;
  #imageRefusedAt = Number.NEGATIVE_INFINITY;

  /** At most `capacity` pages; `clean` is where a page goes when the image has it. */
  constructor(frontswap: Frontswap, clean: CleanPages, capacity: number) {
    this.table = new DirtyPages(capacity);
    this.frontswap = frontswap;
    this.#clean = clean;
    this.#pageBytes = frontswap.pageBytes;
    this.#older = Buffer.alloc(this.#pageBytes);
    this.#stranded = new StrandedPages(this.#pageBytes);
  }

  /** Whether there is no page here at all: then nobody need ask. */
  get isEmpty(): boolean {
    return this.table.count === 0 && this.#held.size === 0;
  }

  /** Whether the image does not have the page as it should be. */
  has(page: number): boolean {
    return this.table.has(page) || (this.#held.size > 0 && this.#held.has(page));
  }

  /** Whether the page was acknowledged and can not be read any more. */
  isLost(page: number): boolean {
    if (this.table.lostCount === 0) return false;
    const slot = this.table.find(page);
    return slot !== NO_SLOT && this.table.isLost(slot);
  }

  /** Copies a page that `has` knows. A MISS means that it was lost in memory: an error, no miss. */
  get(page: number, dst: Buffer, dstOffset: number): GetOutcome {
    const held = this.#held.size > 0 ? this.#held.get(page) : undefined;
    if (held !== undefined) {
      held.buffer.copy(dst, dstOffset, held.offset, held.offset + this.#pageBytes);
      return HIT;
    }
    const outcome = this.#read(page, dst, dstOffset);
    if (outcome === MISS) {
      const slot = this.table.find(page);
      if (slot !== NO_SLOT && !this.table.isLost(slot)) this.table.markLost(slot);
    }
    return outcome;
  }

  /** As `get`, but it is no use of the page. */
  copy(page: number, dst: Buffer, dstOffset: number): GetOutcome {
    const isHeld = this.#held.size > 0 && this.#held.has(page);
    if (!isHeld && this.frontswap.copy(page, dst, dstOffset) !== MISS) return HIT;
    return this.get(page, dst, dstOffset);
  }

  /**
   * Takes a written page, or refuses it: then it must be held. Its older version is gone from the
   * tier, but for when the image is not sure to take the newer one: then it is put back. It stays
   * where it is when memory is likely to refuse both.
   */
  put(page: number, src: Buffer, srcOffset: number, now: number): boolean {
    const isKnown = this.table.has(page);
    if (isKnown && this.frontswap.mayRefuse(page, src, srcOffset) && !this.isLost(page)) {
      this.#kept.add(page);
      return false;
    }
    if (!isKnown && this.table.count >= this.table.capacity) return false;
    const isOlderRead =
      isKnown && this.#isCautious(now) && this.#read(page, this.#older, 0) !== MISS;
    // Its older version, if it is in memory, is clean: mostly the new one can lie in its place.
    const isTaken = !isKnown && this.frontswap.takeOver(page, this.#clean, src, srcOffset);
    if (isRefused(this.frontswap.put(page, src, srcOffset))) {
      if (isOlderRead && this.#putBack(page, this.#older, 0)) this.#kept.add(page);
      return false;
    }
    if (isTaken) this.#clean.claim?.(page, 1);
    else if (!isKnown) this.#clean.flush(page, 1);
    this.#stranded.delete(page);
    this.table.mark(page, now);
    return true;
  }

  /** Keeps a refused page readable where it lies until `release`. */
  hold(page: number, buffer: Buffer, offset: number): void {
    this.#held.set(page, { buffer, offset });
    this.#clean.flush(page, 1);
  }

  isHeld(page: number): boolean {
    return this.#held.has(page);
  }

  /** The image has the held page now. */
  releaseWritten(page: number): void {
    this.writtenCount++;
    this.#clean.claim?.(page, 1);
    this.#held.delete(page);
    this.table.drop(page);
    this.#stranded.delete(page);
    if (this.#kept.delete(page)) this.frontswap.flush(page);
  }

  /**
   * The image did not take the held page either: its older version is the page again, if it was kept.
   * If not, what was acknowledged before is in the held page: so that is offered once more, and if
   * that fails too the page is lost. A page without a past is forgotten.
   */
  releaseFailed(page: number, now: number): void {
    this.#imageRefusedAt = now;
    const held = this.#held.get(page);
    this.#clean.claim?.(page, 1); // the image may have a part of it
    this.#held.delete(page);
    const slot = this.table.find(page);
    if (this.#kept.delete(page) || held === undefined || slot === NO_SLOT) return;
    if (this.#putBack(page, held.buffer, held.offset)) this.table.mark(page, now);
    else this.table.markLost(slot);
  }

  /** The page is not needed any more. */
  drop(page: number): void {
    if (!this.table.has(page)) return;
    this.table.drop(page);
    this.#forget(page);
  }

  /** The image has the page as it was at `version`. Answers whether it is clean now. */
  written(slot: number, page: number, version: number): boolean {
    this.writtenCount++;
    this.#clean.claim?.(page, 1);
    if (!this.table.endWrite(slot, version)) return false;
    if (this.#kept.delete(page))
      this.#forget(page); // readers have a newer one
    else if (!this.#stranded.delete(page)) this.frontswap.handOver(page, this.#clean);
    return true;
  }

  /** Lends the page from where it lies; NO_LOAN if it can not be. */
  lend(page: number): number {
    if (this.#held.size > 0 && this.#held.has(page)) return NO_LOAN;
    return this.frontswap.lend(page);
  }

  /** Whether the image refused something lately. */
  #isCautious(now: number): boolean {
    return this.table.troubledCount > 0 || now - this.#imageRefusedAt < CAUTION_MS;
  }

  #putBack(page: number, src: Buffer, srcOffset: number): boolean {
    const isTaken = !isRefused(this.frontswap.putBack(page, src, srcOffset));
    if (isTaken) this.#stranded.delete(page);
    return isTaken || this.#stranded.put(page, src, srcOffset);
  }

  #read(page: number, dst: Buffer, dstOffset: number): GetOutcome {
    return this.#stranded.get(page, dst, dstOffset)
      ? HIT
      : this.frontswap.get(page, dst, dstOffset);
  }

  #forget(page: number): void {
    this.#stranded.delete(page);
    this.frontswap.flush(page);
  }
}

/** What a reader hears of a page that was acknowledged and did not survive in memory. */
export function lostPage(name: string, offset: number): TmemError {
  return new TmemError(
    'io',
    `the page at offset ${offset} of "${name}" was damaged in memory before it could be written ` +
      'back; write it again',
    { context: { image: name, offset } },
  );
}

/** What a FLUSH hears when `count` pages did not. */
export function lostPages(name: string, count: number): TmemError {
  return new TmemError(
    'io',
    `${count} written pages of "${name}" were damaged in memory before they could be written ` +
      'back; write them again',
    { context: { image: name, count } },
  );
}
