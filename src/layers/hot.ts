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
  REFUSED_FROZEN,
  REFUSED_LIMIT,
  REFUSED_METADATA,
  REFUSED_POOL,
  REPLACED,
  STORED,
} from '../tmem/layer.ts';
import { NO_LOAN, type Lender } from '../tmem/lender.ts';
import { NO_SLOT, PageIndex } from '../tmem/page-index.ts';
import { NO_LOCATION, Slabs } from '../tmem/slabs.ts';

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
/** A put makes at most this many tries to evict for room (Xen: 10). */
const EVICTIONS_PER_PUT_MAX = 10;
/** A page lent more often at once is copied instead. */
const LOANS_PER_PAGE_MAX = 1000;
const DROPPED = 0x10000;

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
  /** By location: how often it is lent now, plus DROPPED when its page is gone. */
  readonly #loans = new Map<number, number>();
  readonly #promoteOneIn: number;
  #dice = 0x2545f491;
  #limitBytes: number;

  constructor(options: HotOptions) {
    this.#options = options;
    this.#next = options.next;
    this.#limitBytes = options.limitBytes;
    this.#promoteOneIn = options.promoteOneIn ?? 16;
    const slotCount = Math.ceil(options.limitBytes / 4096) + 64;
    this.#index = new PageIndex(slotCount);
    this.#locations = new Int32Array(slotCount);
    this.#slabs = new Slabs({
      slabBytes: slabBytesFor(options.limitBytes, options.pageBytesMax),
      objectBytesMax: options.pageBytesMax,
      mayGrow: (bytes) => this.#mayGrow(bytes),
    });
    this.#policy = options.policy({
      slotCount,
      capacityBytes: options.limitBytes,
      hashOf: (slot) => this.#index.hashOf(slot),
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
    // Same-filled pages stay below, where they cost nothing: they answer HIT_ZERO or are cheap.
    if (outcome === HIT && this.#isWanted()) this.#promote(pool, object, index, dst, dstOffset);
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
    const outcome = this.#store(pool, object, index, encoding, src, srcOffset);
    this.statistics.puts[outcome]!++;
    if (isRefused(outcome)) {
      const below = this.#next.put(pool, object, index, encoding, src, srcOffset, length);
      return isRefused(below) ? outcome : below;
    }
    this.#next.flushPage(pool, object, index);
    return outcome;
  }

  flushPage(pool: number, object: number, index: number): boolean {
    const slot = this.#index.find(pool, object, index);
    if (slot !== NO_SLOT) {
      this.#drop(slot);
      this.statistics.flushed++;
    }
    const wasBelow = this.#next.flushPage(pool, object, index);
    return slot !== NO_SLOT || wasBelow;
  }

  flushObject(pool: number, object: number): number {
    const slots = this.#index.slotsOf(pool, object);
    for (const slot of slots) this.#drop(slot);
    this.statistics.flushed += slots.length;
    return slots.length + this.#next.flushObject(pool, object);
  }

  destroyPool(pool: number): number {
    let count = 0;
    for (const object of this.#index.objectsOf(pool)) {
      for (const slot of this.#index.slotsOf(pool, object)) {
        this.#drop(slot);
        count++;
      }
    }
    this.statistics.flushed += count;
    this.#index.forgetPool(pool);
    this.#pools[pool] = undefined;
    return count + this.#next.destroyPool(pool);
  }

  /** What leaves here is encoded into the layer below, so room is made there first. */
  shrink(bytes: number): number {
    const freedBelow = this.#next.shrink(bytes);
    const before = this.#slabs.heldBytes;
    let freed = 0;
    while (freedBelow + freed < bytes && this.#evictOne()) {
      this.statistics.evictedForShrink++;
      if (this.#loans.size === 0) this.#slabs.compact(this.#moved);
      freed = before - this.#slabs.heldBytes;
    }
    if (this.#loans.size === 0) this.#slabs.releaseArenas();
    return freedBelow + freed;
  }

  usage(): LayerUsage {
    return {
      rawPages: this.#index.count,
      compressedPages: 0,
      filledPages: 0,
      dataBytes: this.#slabs.heldBytes,
      storedBytes: this.#slabs.usedBytes,
      metadataBytes: this.#metadataBytes,
      limitBytes: this.#limitBytes,
    };
  }

  /** Lends the page if it is here, and counts a hit; NO_LOAN otherwise. See `Lender`. */
  lend(pool: number, object: number, index: number): number {
    const slot = this.#index.find(pool, object, index);
    if (slot === NO_SLOT) return NO_LOAN;
    const location = this.#locations[slot]! >>> 0;
    const loans = this.#loans.get(location) ?? 0;
    if (loans >= LOANS_PER_PAGE_MAX) return NO_LOAN;
    this.#loans.set(location, loans + 1);
    this.#policy.touch(slot);
    this.statistics.hits++;
    return location;
  }

  loanBuffer(loan: number): Buffer {
    return this.#slabs.bufferAt(loan);
  }

  loanOffset(loan: number): number {
    return this.#slabs.offsetAt(loan);
  }

  returnLoan(loan: number): void {
    const loans = this.#loans.get(loan);
    if (loans === undefined) throw new Error('hot: returned a page that is not lent');
    if ((loans & (DROPPED - 1)) > 1) {
      this.#loans.set(loan, loans - 1);
      return;
    }
    this.#loans.delete(loan);
    if (loans >= DROPPED) this.#slabs.free(loan);
  }

  get #metadataBytes(): number {
    return (
      this.#index.metadataBytes +
      this.#index.slotsTouched * 4 +
      this.#policy.metadataBytes +
      this.#slabs.metadataBytes
    );
  }

  #mayGrow(bytes: number): boolean {
    if (this.#options.mayAllocate?.() === false) return false;
    return this.#slabs.heldBytes + bytes + this.#metadataBytes <= this.#limitBytes;
  }

  /** Stores the page here, or drops the older version of it here and says why. */
  #store(
    pool: number,
    object: number,
    index: number,
    encoding: Encoding,
    src: Buffer,
    srcOffset: number,
  ): PutOutcome {
    const description = this.#pools[pool];
    if (description === undefined) return REFUSED_POOL;
    const old = this.#index.find(pool, object, index);
    if (old !== NO_SLOT) this.#drop(old);
    if (this.isFrozen && old === NO_SLOT) return REFUSED_FROZEN;
    // Only whole pages live here; what comes encoded belongs below.
    if (encoding !== RAW || description.pageBytes > this.#options.pageBytesMax) return REFUSED_POOL;
    const outcome = this.#insert(description, object, index, src, srcOffset);
    return outcome === STORED && old !== NO_SLOT ? REPLACED : outcome;
  }

  #insert(
    pool: PoolDescription,
    object: number,
    index: number,
    src: Buffer,
    srcOffset: number,
  ): PutOutcome {
    if (this.#options.mayAllocate?.() === false) return REFUSED_ALLOCATION;
    const slot = this.#insertSlot(pool.id, object, index);
    if (slot === NO_SLOT) return REFUSED_METADATA;
    const location = this.#allocate(pool.pageBytes, slot);
    if (location === NO_LOCATION) {
      this.#index.remove(slot);
      return REFUSED_LIMIT;
    }
    this.#slabs.copyIn(location, src, srcOffset, pool.pageBytes);
    this.#locations[slot] = location;
    this.#policy.insert(slot, pool.pageBytes + PAGE_METADATA_BYTES, this.#index.hashOf(slot));
    return STORED;
  }

  #insertSlot(pool: number, object: number, index: number): number {
    const slot = this.#index.insert(pool, object, index);
    if (slot !== NO_SLOT || !this.#evictForCapacity()) return slot;
    return this.#index.insert(pool, object, index);
  }

  #allocate(bytes: number, slot: number): number {
    let location = this.#slabs.allocate(bytes, slot);
    for (let tries = 0; location === NO_LOCATION && tries < EVICTIONS_PER_PUT_MAX; tries++) {
      const gained = this.#loans.size === 0 ? this.#slabs.compact(this.#moved) : 0;
      if (gained === 0 && !this.#evictForCapacity()) break;
      location = this.#slabs.allocate(bytes, slot);
    }
    return location;
  }

  readonly #moved = (slot: number, location: number): void => {
    this.#locations[slot] = location;
  };

  #evictForCapacity(): boolean {
    if (!this.#evictOne()) return false;
    this.statistics.evictedForCapacity++;
    return true;
  }

  /**
   * Lets the policy's victim go. It is pushed down unless its copy is below already. A persistent
   * page that the layer below refuses has nowhere to go: it stays, and nothing was evicted.
   */
  #evictOne(): boolean {
    const slot = this.#policy.evict();
    if (slot < 0) return false;
    const pool = this.#index.poolOf(slot);
    const object = this.#index.objectOf(slot);
    const index = this.#index.indexOf(slot);
    if (!this.#next.has(pool, object, index)) {
      const { pageBytes, isPersistent } = this.#pools[pool]!;
      const location = this.#locations[slot]! >>> 0;
      const src = this.#slabs.bufferAt(location);
      const offset = this.#slabs.offsetAt(location);
      if (!isRefused(this.#next.put(pool, object, index, RAW, src, offset, pageBytes))) {
        this.statistics.pushedDown++;
      } else if (isPersistent) {
        this.#policy.insert(slot, pageBytes + PAGE_METADATA_BYTES, this.#index.hashOf(slot));
        return false;
      }
    }
    this.#release(slot);
    return true;
  }

  /** xorshift32: one hit in `promoteOneIn` below, whichever page it is, so the wanted come first. */
  #isWanted(): boolean {
    if (this.#promoteOneIn === 0) return false;
    let x = this.#dice;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#dice = x;
    return (x >>> 0) % this.#promoteOneIn === 0;
  }

  /** Copies a page up. The copy below stays the same page, so a refusal here changes nothing. */
  #promote(pool: number, object: number, index: number, page: Buffer, offset: number): void {
    if (this.isFrozen) return;
    const description = this.#pools[pool];
    if (description === undefined || description.pageBytes > this.#options.pageBytesMax) return;
    if (this.#insert(description, object, index, page, offset) === STORED) {
      this.statistics.promoted++;
    }
  }

  #drop(slot: number): void {
    this.#policy.remove(slot);
    this.#release(slot);
  }

  #release(slot: number): void {
    const location = this.#locations[slot]! >>> 0;
    const loans = this.#loans.size === 0 ? undefined : this.#loans.get(location);
    if (loans === undefined) this.#slabs.free(location);
    else this.#loans.set(location, loans | DROPPED);
    this.#index.remove(slot);
  }
}

/** A slab holds many pages, and the limit many slabs. */
function slabBytesFor(limitBytes: number, pageBytesMax: number): number {
  const wanted = 2 ** Math.floor(Math.log2(Math.max(1, limitBytes / 256)));
  return Math.max(pageBytesMax, Math.min(256 * 1024, Math.max(64 * 1024, wanted)));
}
