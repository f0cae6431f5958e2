/**
 * hot: the most wanted pages, as they are.
 *
 * A page that was just read or written lands here and is encoded only when it leaves, if it is not
 * below already; a page of the layer below that keeps being asked for is copied up. The copy below
 * stays: since its hits are answered here it ages there, and is the first to go when room is short.
 * So the hit that costs one copy goes to the pages with the most hits, and leaving costs nothing
 * for those that came up.
 *
 * A page held here can be lent: a reader sends it from where it lies. A lent page is neither moved
 * nor overwritten; when it is dropped meanwhile, its memory is freed when it is returned.
 *
 * Source: the hot zone of zExpander (EuroSys 2016).
 */

import { PAGE_BYTES_MIN } from '../lib/page-bytes.ts';
import {
  type Encoding,
  type GetOutcome,
  HIT,
  isRefused,
  type Layer,
  type PutOutcome,
  RAW,
  REFUSED_FILLED,
  REFUSED_POOL,
  REPLACED,
  STORED,
} from '../tmem/layer.ts';
import { type Lender, NO_LOAN } from '../tmem/lender.ts';
import { NO_SLOT, type PageIndex, SLOT_COUNT_MAX } from '../tmem/page-index.ts';
import { isSameFilled } from '../tmem/same-filled.ts';
import type { Slabs } from '../tmem/slabs.ts';
import type { HeldPool, LayerOptions } from './held-pages.ts';
import { LayerFrame } from './layer-frame.ts';
import { Loans } from './loans.ts';
import { OneIn } from './one-in.ts';
import type { PageTable } from './page-table.ts';
import { slabBytesNear } from './slab-bytes.ts';

export interface HotOptions extends LayerOptions {
  readonly next: Layer;
  /** One hit in this many below is copied up; 0 never. Default 16. */
  readonly promoteOneIn?: number;
}

/** A put makes at most this many tries for room (Xen: 10). */
const TRIES_PER_PUT_MAX = 10;

export class Hot extends LayerFrame implements Lender {
  readonly name = 'hot';

  readonly #next: Layer;
  readonly #index: PageIndex;
  readonly #pages: PageTable;
  readonly #slabs: Slabs;
  readonly #loans: Loans;
  readonly #promotion: OneIn;
  readonly #pageBytesMax: number;

  constructor(options: HotOptions) {
    const { limitBytes } = options;
    super({
      ...options,
      slotCount: Math.min(Math.ceil(limitBytes / PAGE_BYTES_MIN) + 64, SLOT_COUNT_MAX),
      // A slab holds many pages, and the limit many slabs.
      slabBytes: slabBytesNear(limitBytes, limitBytes / 256, options.pageBytesMax),
      filledCountMax: 0,
      arePersistentQueued: true,
      triesPerPutMax: TRIES_PER_PUT_MAX,
    });
    this.#next = options.next;
    this.#pageBytesMax = options.pageBytesMax;
    this.#promotion = new OneIn(options.promoteOneIn ?? 16);
    this.#index = this.held.index;
    this.#pages = this.held.pages;
    this.#slabs = this.held.slabs;
    this.#loans = new Loans(this.#slabs);
  }

  get(
    pool: number,
    object: number,
    index: number,
    dst: Buffer,
    dstOffset: number,
    isUse = true,
  ): GetOutcome {
    const slot = this.#index.find(pool, object, index);
    if (slot !== NO_SLOT) {
      this.copyOut(slot, this.#pages.lengthOf(slot), dst, dstOffset);
      if (isUse) this.held.poolOf(pool)!.tenant.policy.touch(slot);
      this.statistics.hits++;
      return HIT;
    }
    this.statistics.misses++;
    const outcome = this.#next.get(pool, object, index, dst, dstOffset, isUse);
    if (outcome === HIT && isUse && this.#promotion.next())
      this.#promote(pool, object, index, dst, dstOffset);
    return outcome;
  }

  /**
   * A page that is here already is overwritten where it lies, unless it is lent: that takes no
   * memory, so that it cannot be refused.
   */
  put(
    pool: number,
    object: number,
    index: number,
    encoding: Encoding,
    src: Buffer,
    srcOffset: number,
    length: number,
  ): PutOutcome {
    const slot = this.#index.find(pool, object, index);
    const hadOlder = slot !== NO_SLOT;
    const isFilled = encoding === RAW && isSameFilled(src, srcOffset, length);
    if (hadOlder) {
      if (encoding === RAW && !isFilled && this.#overwrite(slot, src, srcOffset, length)) {
        this.#next.flushPage(pool, object, index);
        this.statistics.puts[REPLACED]!++;
        return REPLACED;
      }
      this.held.drop(slot);
    }
    if (isFilled) {
      const below = this.#next.put(pool, object, index, encoding, src, srcOffset, length);
      if (!isRefused(below)) {
        this.statistics.puts[REFUSED_FILLED]!++;
        return hadOlder ? REPLACED : below;
      }
    }
    return this.putNew(hadOlder, pool, object, index, encoding, src, srcOffset, length);
  }

  override overwrites(
    pool: number,
    object: number,
    index: number,
    src: Buffer,
    srcOffset: number,
  ): boolean {
    const slot = this.#index.find(pool, object, index);
    if (slot === NO_SLOT || this.#isLent(slot)) return false;
    return !isSameFilled(src, srcOffset, this.#pages.lengthOf(slot));
  }

  /** Only whole pages live here; what comes encoded belongs below. */
  protected store(
    pool: HeldPool,
    object: number,
    index: number,
    encoding: Encoding,
    src: Buffer,
    srcOffset: number,
    length: number,
  ): PutOutcome {
    if (encoding !== RAW) return REFUSED_POOL;
    return this.held.insert(pool, object, index, RAW, src, srcOffset, length);
  }

  protected copyOut(slot: number, pageBytes: number, dst: Buffer, dstOffset: number): typeof HIT {
    this.#slabs.copyOut(this.#pages.locationOf(slot) >>> 0, pageBytes, dst, dstOffset);
    return HIT;
  }

  /** What is lent is freed when it is given back. */
  protected override freeLocation(location: number): void {
    this.#loans.free(location);
  }

  /** Lends the page if it is here; NO_LOAN otherwise. See `Lender`. */
  lend(pool: number, object: number, index: number, isUse = true): number {
    const slot = this.#index.find(pool, object, index);
    if (slot === NO_SLOT) return NO_LOAN;
    const location = this.#pages.locationOf(slot) >>> 0;
    if (!this.#loans.lend(location)) return NO_LOAN;
    if (isUse) this.held.poolOf(pool)?.tenant.policy.touch(slot);
    return location;
  }

  countLent(count: number): void {
    this.statistics.hits += count;
  }

  loanBuffer(loan: number): Buffer {
    return this.#slabs.bufferAt(loan);
  }

  loanOffset(loan: number): number {
    return this.#slabs.offsetAt(loan);
  }

  returnLoan(loan: number): void {
    this.#loans.giveBack(loan);
  }

  /** Puts the newer bytes in the place of the older ones; false where a reader still needs those. */
  #overwrite(slot: number, src: Buffer, srcOffset: number, length: number): boolean {
    if (this.#isLent(slot)) return false;
    this.#slabs.copyIn(this.#pages.locationOf(slot) >>> 0, src, srcOffset, length);
    this.held.tenantOf(slot).policy.touch(slot);
    return true;
  }

  #isLent(slot: number): boolean {
    return this.#loans.isLent(this.#pages.locationOf(slot) >>> 0);
  }

  /** Copies a page up. The copy below stays the same page, so a refusal here changes nothing. */
  #promote(pool: number, object: number, index: number, page: Buffer, offset: number): void {
    if (this.isFrozen) return;
    const description = this.held.poolOf(pool);
    if (description === undefined || description.pageBytes > this.#pageBytesMax) return;
    const { pageBytes } = description;
    if (isSameFilled(page, offset, pageBytes)) return;
    if (this.held.insert(description, object, index, RAW, page, offset, pageBytes) === STORED) {
      this.statistics.promoted++;
    }
    this.held.budget.fit(description.tenant);
  }
}
