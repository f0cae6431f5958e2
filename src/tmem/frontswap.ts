/**
 * frontswap: the frontend for pages of a disk that the disk does not have yet, over a persistent
 * pool. A put may be refused, and then the caller must write the page to the disk itself; what was
 * accepted is there until it is flushed, or handed to the clean pages when the disk has it too.
 *
 * Objects are runs of pages as in `cleancache.ts`.
 *
 * Source: Linux Documentation/vm/frontswap.rst.
 */

import type { Account } from './account.ts';
import { type Cleancache, PAGES_PER_OBJECT } from './cleancache.ts';
import type { GetOutcome, PutOutcome } from './layer.ts';
import { type Lender, NO_LOAN } from './lender.ts';
import type { Pool } from './pool.ts';
import type { Tmem } from './tmem.ts';

export class Frontswap {
  readonly pageBytes: number;
  readonly pool: Pool;
  readonly #tmem: Tmem;
  readonly #lender: Lender | undefined;

  /** A tier for one image's pages, in a new private pool on `tmem`. */
  constructor(tmem: Tmem, pageBytes: number, lender?: Lender, account?: Account) {
    const charged = account === undefined ? {} : { account };
    this.pool = tmem.createPool({ kind: 'persistent', pageBytes, ...charged });
    this.pageBytes = pageBytes;
    this.#tmem = tmem;
    this.#lender = lender;
  }

  /**
   * Whether a put of a page that is held is likely to be refused, so that whoever needs the older
   * version makes none: more is held than a limit or a cap, and the page needs another place.
   */
  mayRefuse(page: number, src: Buffer, srcOffset: number): boolean {
    const { usedBytes, capBytes } = this.pool.account;
    if (usedBytes <= capBytes && !this.#tmem.isOverfull) return false;
    const object = Math.floor(page / PAGES_PER_OBJECT);
    return !this.pool.overwrites(object, page % PAGES_PER_OBJECT, src, srcOffset);
  }

  /** Copies page `page` to `dst[dstOffset]`; MISS means that it is not held, or that it is lost. */
  get(page: number, dst: Buffer, dstOffset: number): GetOutcome {
    const object = Math.floor(page / PAGES_PER_OBJECT);
    return this.pool.get(object, page % PAGES_PER_OBJECT, dst, dstOffset);
  }

  /** As `get`, but it is no use of the page. */
  copy(page: number, dst: Buffer, dstOffset: number): GetOutcome {
    const object = Math.floor(page / PAGES_PER_OBJECT);
    return this.pool.copy(object, page % PAGES_PER_OBJECT, dst, dstOffset);
  }

  /** Stores the page, or refuses it; when refused no older version of it is held any more. */
  put(page: number, src: Buffer, srcOffset: number): PutOutcome {
    const object = Math.floor(page / PAGES_PER_OBJECT);
    return this.pool.put(object, page % PAGES_PER_OBJECT, src, srcOffset);
  }

  /** As `put`, of a page that was held a moment ago: it is not a new one, which a freeze keeps out. */
  putBack(page: number, src: Buffer, srcOffset: number): PutOutcome {
    return this.#tmem.whileThawed(() => this.put(page, src, srcOffset));
  }

  /** Drops the page; answers whether it was there. */
  flush(page: number): boolean {
    return this.pool.flushPage(Math.floor(page / PAGES_PER_OBJECT), page % PAGES_PER_OBJECT);
  }

  /** The disk has the page now: it may vanish like any clean one. */
  handOver(page: number, clean: Pick<Cleancache, 'pool'>): void {
    const object = Math.floor(page / PAGES_PER_OBJECT);
    const isMoved = this.pool.transferTo(clean.pool, object, page % PAGES_PER_OBJECT);
    if (!isMoved) this.pool.flushPage(object, page % PAGES_PER_OBJECT); // no room for its name
  }

  /**
   * A clean page is about to be written: it becomes this tier's as it lies, and a put of these bytes
   * then goes over it, which is less work than dropping the one and storing the other. Answers
   * whether it did. What a new page would be refused for keeps this one out, too.
   */
  takeOver(page: number, clean: Pick<Cleancache, 'pool'>, src: Buffer, srcOffset: number): boolean {
    const { usedBytes, capBytes } = this.pool.account;
    if (usedBytes > capBytes || this.#tmem.isFrozen || this.#tmem.isOverfull) return false;
    const object = Math.floor(page / PAGES_PER_OBJECT);
    const index = page % PAGES_PER_OBJECT;
    if (!clean.pool.overwrites(object, index, src, srcOffset)) return false;
    return clean.pool.transferTo(this.pool, object, index);
  }

  /** Lends the page where a layer can; NO_LOAN otherwise. */
  lend(page: number): number {
    if (this.#lender === undefined) return NO_LOAN;
    const object = Math.floor(page / PAGES_PER_OBJECT);
    return this.#lender.lend(this.pool.id, object, page % PAGES_PER_OBJECT);
  }
}
