/**
 * cleancache: the frontend for clean pages of a disk, over an ephemeral pool. It names pages by
 * their number on the disk; what it holds can always be read again from below, so that it may
 * forget at any time. Keeping it coherent is the caller's duty: whoever changes the disk flushes.
 *
 * An object is a run of 16,384 pages (64 MiB of 4 KiB pages), so that dropping a range drops whole
 * objects.
 *
 * Source: Linux Documentation/vm/cleancache.rst.
 */

import { turnOfTheLoop } from '../lib/turn-of-the-loop.ts';
import type { Account } from './account.ts';
import {
  createEncodedPage,
  type EncodedPage,
  FILLED,
  type GetOutcome,
  MISS,
  type PutOutcome,
  RAW,
} from './layer.ts';
import { type Lender, NO_LOAN } from './lender.ts';
import type { Pool } from './pool.ts';
import { isSameFilled } from './same-filled.ts';
import type { Tmem } from './tmem.ts';

/** Pages of one object. */
export const PAGES_PER_OBJECT = 16_384;

/** Pages that leave in one turn of the event loop: about 1 ms of work. */
const DROPS_PER_TURN = 256;

export class Cleancache {
  readonly pageBytes: number;
  readonly pool: Pool;
  /** Gets by outcome, of this frontend alone. */
  hits = 0;
  misses = 0;
  readonly #lender: Lender | undefined;
  readonly #peeked = createEncodedPage();

  /** A cache of one image's pages, in a new private pool on `tmem`. */
  constructor(tmem: Tmem, pageBytes: number, lender?: Lender, account?: Account) {
    const charged = account === undefined ? {} : { account };
    this.pool = tmem.createPool({ kind: 'ephemeral', pageBytes, ...charged });
    this.pageBytes = pageBytes;
    this.#lender = lender;
  }

  /** Copies page `page` to `dst[dstOffset]`, if it is held. */
  get(page: number, dst: Buffer, dstOffset: number, isUse = true): GetOutcome {
    const object = Math.floor(page / PAGES_PER_OBJECT);
    const outcome = this.pool.get(object, page % PAGES_PER_OBJECT, dst, dstOffset, isUse);
    if (outcome === MISS) this.misses++;
    else this.hits++;
    return outcome;
  }

  has(page: number): boolean {
    return this.pool.has(Math.floor(page / PAGES_PER_OBJECT), page % PAGES_PER_OBJECT);
  }

  /** Whether the page is held, and is more than four bytes repeated. It is no use of the page. */
  hasBytes(page: number): boolean {
    const object = Math.floor(page / PAGES_PER_OBJECT);
    if (!this.pool.peek(object, page % PAGES_PER_OBJECT, this.#peeked)) return false;
    const { encoding, buffer, offset, length } = this.#peeked;
    // One that the layer of such pages had no room for lies in another, as it is.
    return encoding !== FILLED && !(encoding === RAW && isSameFilled(buffer, offset, length));
  }

  /** As `get`, but it is no use of the page and counts nowhere. */
  copy(page: number, dst: Buffer, dstOffset: number): GetOutcome {
    const object = Math.floor(page / PAGES_PER_OBJECT);
    return this.pool.copy(object, page % PAGES_PER_OBJECT, dst, dstOffset);
  }

  put(page: number, src: Buffer, srcOffset: number): PutOutcome {
    const object = Math.floor(page / PAGES_PER_OBJECT);
    return this.pool.put(object, page % PAGES_PER_OBJECT, src, srcOffset);
  }

  /** As `put`, of a page that is encoded already; see `Pool.putEncoded`. */
  putEncoded(page: number, encoded: EncodedPage): PutOutcome {
    return this.pool.putEncoded(
      Math.floor(page / PAGES_PER_OBJECT),
      page % PAGES_PER_OBJECT,
      encoded,
    );
  }

  /** Drops the pages `[first, first + count)`, at a cost for each; of many see `flushInTurns`. */
  flush(first: number, count: number): void {
    for (let page = first; page < first + count; page++) {
      this.pool.flushPage(Math.floor(page / PAGES_PER_OBJECT), page % PAGES_PER_OBJECT);
    }
  }

  /** As `flush`; of a long range in slices, between which others go on. */
  async flushInTurns(first: number, count: number): Promise<void> {
    if (count <= DROPS_PER_TURN) {
      this.flush(first, count);
      return;
    }
    const end = first + count;
    let left = DROPS_PER_TURN;
    for (let page = first; page < end; ) {
      const object = Math.floor(page / PAGES_PER_OBJECT);
      const index = page % PAGES_PER_OBJECT;
      const span = Math.min(end - page, PAGES_PER_OBJECT - index);
      // To list an object costs what all of it holds: of a part the pages are tried one by one.
      const held = span === PAGES_PER_OBJECT ? this.pool.indexesOf(object) : undefined;
      const tries = held?.length ?? span;
      for (let i = 0; i < tries; i++) {
        const isDropped = this.pool.flushPage(object, held?.[i] ?? index + i);
        if (!isDropped || --left > 0) continue;
        left = DROPS_PER_TURN;
        await turnOfTheLoop();
      }
      page += span;
    }
  }

  /** Lends page `page` where a layer can; NO_LOAN otherwise. */
  lend(page: number, isUse = true): number {
    if (this.#lender === undefined) return NO_LOAN;
    const object = Math.floor(page / PAGES_PER_OBJECT);
    return this.#lender.lend(this.pool.id, object, page % PAGES_PER_OBJECT, isUse);
  }

  /** Counts hits of pages that were lent and will be sent; one that is returned unsent is none. */
  countLent(count: number): void {
    this.hits += count;
    this.#lender?.countLent(count);
  }

  /** The layer that lends, to read and return loans. */
  get lender(): Lender | undefined {
    return this.#lender;
  }
}
