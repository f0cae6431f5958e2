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

import type { EvictionPolicy, PolicyFactory } from '../policy/policy.ts';
import { Budget } from '../tmem/budget.ts';
import {
  createLayerStatistics,
  type Encoding,
  type GetOutcome,
  HIT,
  isRefused,
  type Layer,
  type LayerUsage,
  type PoolDescription,
  type PutOutcome,
  RAW,
  REFUSED_ALLOCATION,
  REFUSED_FILLED,
  REFUSED_FROZEN,
  REFUSED_LIMIT,
  REFUSED_METADATA,
  REFUSED_POOL,
  REPLACED,
  STORED,
} from '../tmem/layer.ts';
import { type Lender, NO_LOAN } from '../tmem/lender.ts';
import { NO_SLOT, PageIndex } from '../tmem/page-index.ts';
import { isSameFilled } from '../tmem/same-filled.ts';
import { NO_LOCATION, Slabs } from '../tmem/slabs.ts';
import { Loans } from './loans.ts';
import { OneIn } from './one-in.ts';

export interface HotOptions {
  /** Bytes that pages and metadata together may take; hard. */
  readonly limitBytes: number;
  /** The largest page of any pool, bytes. */
  readonly pageBytesMax: number;
  readonly policy: PolicyFactory;
  readonly next: Layer;
  /** One hit in this many below is copied up; 0 never. Default 16. */
  readonly promoteOneIn?: number;
  /** Asked before every allocation of memory; a test makes it answer false. */
  readonly mayAllocate?: () => boolean;
}

const PAGE_METADATA_BYTES = 40;
/** A put makes at most this many tries for room (Xen: 10). */
const TRIES_PER_PUT_MAX = 10;
/** What a slot that was never used before costs in the row and the policy, at most. */
const FRESH_SLOT_BYTES = 4 + 16;

export class Hot implements Layer, Lender {
  readonly name = 'hot';
  readonly statistics = createLayerStatistics();
  isFrozen = false;

  readonly #options: HotOptions;
  readonly #next: Layer;
  readonly #index: PageIndex;
  readonly #slabs: Slabs;
  readonly #policy: EvictionPolicy;
  readonly #locations: Int32Array;
  readonly #pools: (PoolDescription | undefined)[] = [];
  readonly #loans: Loans;
  readonly #budget: Budget;
  readonly #promotion: OneIn;

  constructor(options: HotOptions) {
    this.#options = options;
    this.#next = options.next;
    this.#promotion = new OneIn(options.promoteOneIn ?? 16);
    const slotCount = Math.ceil(options.limitBytes / 4096) + 64;
    this.#index = new PageIndex(slotCount);
    this.#locations = new Int32Array(slotCount);
    this.#slabs = new Slabs({
      slabBytes: slabBytesFor(options.limitBytes, options.pageBytesMax),
      objectBytesMax: options.pageBytesMax,
      mayGrow: (bytes) => options.mayAllocate?.() !== false && this.#budget.allows(bytes),
    });
    this.#policy = options.policy({
      slotCount,
      capacityBytes: options.limitBytes,
      hashOf: (slot) => this.#index.hashOf(slot),
    });
    this.#loans = new Loans(this.#slabs);
    this.#budget = new Budget({
      limitBytes: options.limitBytes,
      usedBytes: () => this.#slabs.heldBytes + this.#metadataBytes,
      makeRoom: () => this.#makeRoom(),
      triesMax: TRIES_PER_PUT_MAX,
      pageBytes: (isSlotFresh) => (isSlotFresh ? FRESH_SLOT_BYTES : 0),
    });
  }

  createPool(pool: PoolDescription): void {
    this.#pools[pool.id] = pool;
    this.#index.createPool(pool.id);
    this.#next.createPool(pool);
  }

  get(pool: number, object: number, index: number, dst: Buffer, dstOffset: number): GetOutcome {
    const slot = this.#index.find(pool, object, index);
    if (slot !== NO_SLOT) {
      const { pageBytes } = this.#pools[pool]!;
      this.#slabs.copyOut(this.#locations[slot]! >>> 0, pageBytes, dst, dstOffset);
      this.#policy.touch(slot);
      this.statistics.hits++;
      return HIT;
    }
    this.statistics.misses++;
    const outcome = this.#next.get(pool, object, index, dst, dstOffset);
    if (outcome === HIT && this.#promotion.next())
      this.#promote(pool, object, index, dst, dstOffset);
    return outcome;
  }

  has(pool: number, object: number, index: number): boolean {
    if (this.#index.find(pool, object, index) !== NO_SLOT) return true;
    return this.#next.has(pool, object, index);
  }

  put(
    pool: number,
    object: number,
    index: number,
    encoding: Encoding,
    src: Buffer,
    srcOffset: number,
    length: number,
  ): PutOutcome {
    const hadOlder = this.#dropOlder(pool, object, index);
    if (encoding === RAW && isSameFilled(src, srcOffset, length)) {
      const below = this.#next.put(pool, object, index, encoding, src, srcOffset, length);
      if (!isRefused(below)) {
        this.statistics.puts[REFUSED_FILLED]!++;
        return hadOlder ? REPLACED : below;
      }
    }
    const stored = this.#store(hadOlder, pool, object, index, encoding, src, srcOffset);
    const outcome = stored === STORED && hadOlder ? REPLACED : stored;
    this.statistics.puts[outcome]!++;
    if (isRefused(outcome)) {
      const below = this.#next.put(pool, object, index, encoding, src, srcOffset, length);
      this.#budget.fit();
      if (isRefused(below)) return outcome;
      return hadOlder ? REPLACED : below;
    }
    const wasBelow = this.#next.flushPage(pool, object, index);
    this.#budget.fit(); // not earlier: it may push down the very page, which the flush would drop
    return wasBelow ? REPLACED : outcome;
  }

  flushPage(pool: number, object: number, index: number): boolean {
    const wasHere = this.#dropOlder(pool, object, index);
    if (wasHere) this.statistics.flushed++;
    const wasBelow = this.#next.flushPage(pool, object, index);
    return wasHere || wasBelow;
  }

  flushObject(pool: number, object: number): number {
    const count = this.#dropAll(this.#index.slotsOf(pool, object));
    return count + this.#next.flushObject(pool, object);
  }

  destroyPool(pool: number): number {
    const count = this.#dropAll(this.#index.slotsOfPool(pool));
    this.#index.forgetPool(pool);
    this.#pools[pool] = undefined;
    return count + this.#next.destroyPool(pool);
  }

  /**
   * The layer below gives first. What then has to leave here is dropped: encoding it into the layer
   * below would take memory again.
   */
  shrink(bytes: number): number {
    const freedBelow = this.#next.shrink(bytes);
    const before = this.#budget.usedBytes + freedBelow;
    const kept: number[] = [];
    while (before - this.#budget.usedBytes < bytes) {
      if (this.#slabs.compact(this.#moved) > 0) continue;
      const slot = this.#policy.evict();
      if (slot < 0) break;
      if (this.#mayDrop(slot)) {
        this.#release(slot);
        this.statistics.evictedForShrink++;
      } else {
        kept.push(slot);
      }
    }
    for (const slot of kept) this.#enqueue(slot);
    this.#budget.fit();
    this.#slabs.releaseArenas();
    return before - this.#budget.usedBytes;
  }

  usage(): LayerUsage {
    return {
      rawPages: this.#index.count,
      compressedPages: 0,
      filledPages: 0,
      dataBytes: this.#slabs.heldBytes,
      storedBytes: this.#slabs.usedBytes,
      metadataBytes: this.#metadataBytes,
      limitBytes: this.#options.limitBytes,
    };
  }

  /** Lends the page if it is here; NO_LOAN otherwise. See `Lender`. */
  lend(pool: number, object: number, index: number): number {
    const slot = this.#index.find(pool, object, index);
    if (slot === NO_SLOT) return NO_LOAN;
    const location = this.#locations[slot]! >>> 0;
    if (!this.#loans.lend(location)) return NO_LOAN;
    this.#policy.touch(slot);
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

  get #metadataBytes(): number {
    const ownBytes = this.#index.slotsTouched * 4 + this.#index.metadataBytes;
    return ownBytes + this.#policy.metadataBytes + this.#slabs.metadataBytes;
  }

  /** Drops the version held here: whatever fails from here on, it can not be read again (rule 1). */
  #dropOlder(pool: number, object: number, index: number): boolean {
    const slot = this.#index.find(pool, object, index);
    if (slot !== NO_SLOT) this.#drop(slot);
    return slot !== NO_SLOT;
  }

  /** Stores a page that is not here, or says why not. */
  #store(
    isKnown: boolean,
    pool: number,
    object: number,
    index: number,
    encoding: Encoding,
    src: Buffer,
    srcOffset: number,
  ): PutOutcome {
    const description = this.#pools[pool];
    if (description === undefined) return REFUSED_POOL;
    // Only whole pages live here; what comes encoded belongs below.
    if (encoding !== RAW || description.pageBytes > this.#options.pageBytesMax) return REFUSED_POOL;
    if (this.isFrozen && !isKnown) return REFUSED_FROZEN;
    return this.#insert(description, object, index, src, srcOffset);
  }

  #insert(
    pool: PoolDescription,
    object: number,
    index: number,
    src: Buffer,
    srcOffset: number,
  ): PutOutcome {
    if (this.#options.mayAllocate?.() === false) return REFUSED_ALLOCATION;
    const slot = this.#budget.insert(this.#index, pool.id, object, index);
    if (slot === NO_SLOT) return REFUSED_METADATA;
    const location = this.#budget.allocate(this.#slabs, pool.pageBytes, slot);
    if (location === NO_LOCATION) {
      this.#index.remove(slot);
      return REFUSED_LIMIT;
    }
    this.#slabs.copyIn(location, src, srcOffset, pool.pageBytes);
    this.#locations[slot] = location;
    this.#enqueue(slot);
    return STORED;
  }

  /** One step towards room: a slab by compaction, else the memory of a page; false if it is over. */
  #makeRoom(): boolean {
    if (this.#slabs.compact(this.#moved) > 0) return true;
    if (!this.#evictOne()) return false;
    this.statistics.evictedForCapacity++;
    return true;
  }

  readonly #moved = (slot: number, location: number): void => {
    this.#locations[slot] = location;
  };

  /**
   * Lets the first of the policy's next victims go that can: it is pushed down unless its copy is
   * below already. A persistent page that the layer below refuses has nowhere to go and stays.
   */
  #evictOne(): boolean {
    for (let tries = 0; tries < TRIES_PER_PUT_MAX; tries++) {
      const slot = this.#policy.evict();
      if (slot < 0) return false;
      if (this.#pushDown(slot) || this.#mayDrop(slot)) {
        this.#release(slot);
        return true;
      }
      this.#enqueue(slot);
    }
    return false;
  }

  /** Whether the layer below has the page now: it took it, or its copy was there. */
  #pushDown(slot: number): boolean {
    if (this.#isBelow(slot)) return true;
    const pool = this.#index.poolOf(slot);
    const location = this.#locations[slot]! >>> 0;
    const outcome = this.#next.put(
      pool,
      this.#index.objectOf(slot),
      this.#index.indexOf(slot),
      RAW,
      this.#slabs.bufferAt(location),
      this.#slabs.offsetAt(location),
      this.#pools[pool]!.pageBytes,
    );
    if (isRefused(outcome)) return false;
    this.statistics.pushedDown++;
    return true;
  }

  /** Whether the page may vanish: it is ephemeral, or its copy is below. */
  #mayDrop(slot: number): boolean {
    return !this.#pools[this.#index.poolOf(slot)]!.isPersistent || this.#isBelow(slot);
  }

  #isBelow(slot: number): boolean {
    const index = this.#index;
    return this.#next.has(index.poolOf(slot), index.objectOf(slot), index.indexOf(slot));
  }

  #enqueue(slot: number): void {
    const { pageBytes } = this.#pools[this.#index.poolOf(slot)]!;
    this.#policy.insert(slot, pageBytes + PAGE_METADATA_BYTES, this.#index.hashOf(slot));
  }

  /** Copies a page up. The copy below stays the same page, so a refusal here changes nothing. */
  #promote(pool: number, object: number, index: number, page: Buffer, offset: number): void {
    if (this.isFrozen) return;
    const description = this.#pools[pool];
    if (description === undefined || description.pageBytes > this.#options.pageBytesMax) return;
    if (isSameFilled(page, offset, description.pageBytes)) return;
    if (this.#insert(description, object, index, page, offset) === STORED) {
      this.statistics.promoted++;
    }
    this.#budget.fit();
  }

  /** Drops pages of the pool; answers how many of them have no copy below, where all are counted. */
  #dropAll(slots: readonly number[]): number {
    let count = 0;
    for (const slot of slots) {
      if (!this.#isBelow(slot)) count++;
      this.#drop(slot);
    }
    this.statistics.flushed += slots.length;
    return count;
  }

  #drop(slot: number): void {
    this.#policy.remove(slot);
    this.#release(slot);
  }

  #release(slot: number): void {
    this.#loans.free(this.#locations[slot]! >>> 0);
    this.#index.remove(slot);
  }
}

/** A slab holds many pages, and the limit many slabs. */
function slabBytesFor(limitBytes: number, pageBytesMax: number): number {
  const wanted = 2 ** Math.floor(Math.log2(Math.max(1, limitBytes / 256)));
  return Math.max(pageBytesMax, Math.min(256 * 1024, Math.max(64 * 1024, wanted)));
}
