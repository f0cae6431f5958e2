/**
 * What every layer does alike: the frame around storing a page, flushing, moving and evicting, with
 * the layer below as the place for what this one does not hold or take. A layer says how it
 * stores a page; the rules of `tmem/layer.ts` are kept here, once.
 */

import {
  createEncodedPage,
  type EncodedPage,
  type Encoding,
  isRefused,
  type Layer,
  type LayerStatistics,
  type PoolDescription,
  type PutOutcome,
  REFUSED_FROZEN,
  REFUSED_POOL,
  REPLACED,
  STORED,
} from '../tmem/layer.ts';
import { NO_SLOT } from '../tmem/page-index.ts';
import { HeldPages, type HeldPagesOptions, type HeldPool } from './held-pages.ts';
import type { Tenant } from './tenants.ts';

/** Victims that one step towards room tries, where persistent ones may have nowhere to go. */
const VICTIMS_PER_STEP_MAX = 10;

/** Pages that one call of `shrink` may look at: so many, and one more for each so many bytes. */
const VICTIMS_PER_SHRINK_MIN = 64;
const BYTES_PER_VICTIM = 128;
/** Pages that `trimToCaps` may look at for each that leaves. */
const VICTIMS_PER_PAGE = 16;
/** Slabs that one call moves so that arenas get empty: 256 KiB each at most. */
const SLABS_MOVED_PER_SHRINK_MAX = 4;

export interface LayerFrameOptions
  extends Omit<HeldPagesOptions, 'makeRoom' | 'fitCap' | 'filledEvicted'> {
  readonly statistics: LayerStatistics;
  readonly next: Layer | undefined;
  /** Stores a page of a known pool that is not here, or says why not. */
  readonly store: (
    pool: HeldPool,
    object: number,
    index: number,
    encoding: Encoding,
    src: Buffer,
    srcOffset: number,
    length: number,
  ) => PutOutcome;
}

export class LayerFrame {
  isFrozen = false;
  readonly held: HeldPages;
  readonly #options: LayerFrameOptions;
  readonly #statistics: LayerStatistics;
  readonly #next: Layer | undefined;
  readonly #pushed: EncodedPage;

  constructor(options: LayerFrameOptions) {
    this.#options = options;
    this.#statistics = options.statistics;
    this.#next = options.next;
    this.#pushed = createEncodedPage();
    this.held = new HeldPages({
      ...options,
      makeRoom: (asking) => this.#makeRoom(asking),
      fitCap: (tenant, bytes) => this.#fitCap(tenant, bytes),
      filledEvicted: () => {
        this.#statistics.evictedForFilledCap++;
      },
    });
  }

  createPool(pool: PoolDescription): void {
    this.held.createPool(pool);
    this.#next?.createPool(pool);
  }

  has(pool: number, object: number, index: number): boolean {
    if (this.held.index.find(pool, object, index) !== NO_SLOT) return true;
    return this.#next?.has(pool, object, index) ?? false;
  }

  /**
   * Stores a page whose older version here, if `hadOlder`, has been dropped: whatever fails from
   * now on, it can not be read again (rule 1). What is refused goes to the next layer.
   */
  put(
    hadOlder: boolean,
    pool: number,
    object: number,
    index: number,
    encoding: Encoding,
    src: Buffer,
    srcOffset: number,
    length: number,
  ): PutOutcome {
    const held = this.held.poolOf(pool);
    const stored = this.#store(hadOlder, held, object, index, encoding, src, srcOffset, length);
    const outcome = stored === STORED && hadOlder ? REPLACED : stored;
    this.#statistics.puts[outcome]!++;
    if (isRefused(outcome)) {
      const below = this.#next?.put(pool, object, index, encoding, src, srcOffset, length);
      if (held !== undefined) this.held.budget.fit(held.tenant);
      if (below === undefined || isRefused(below)) return outcome;
      return hadOlder ? REPLACED : below;
    }
    const wasBelow = this.#next?.flushPage(pool, object, index) ?? false;
    // Not earlier: it may push down the very page, which the flush would drop.
    if (held !== undefined) this.held.budget.fit(held.tenant);
    return wasBelow ? REPLACED : outcome;
  }

  flushPage(pool: number, object: number, index: number): boolean {
    const wasHere = this.held.dropNamed(pool, object, index);
    if (wasHere) this.#statistics.flushed++;
    const wasBelow = this.#next?.flushPage(pool, object, index) ?? false;
    return wasHere || wasBelow;
  }

  flushObject(pool: number, object: number): number {
    const count = this.#dropAll(this.held.index.slotsOf(pool, object));
    return count + (this.#next?.flushObject(pool, object) ?? 0);
  }

  destroyPool(pool: number): number {
    const count = this.#dropAll(this.held.index.slotsOfPool(pool));
    this.held.forgetPool(pool);
    return count + (this.#next?.destroyPool(pool) ?? 0);
  }

  transfer(from: number, to: number, object: number, index: number): boolean {
    const { held } = this;
    const target = held.poolOf(to);
    const isBelow = this.#next?.transfer(from, to, object, index) ?? false;
    const slot = target === undefined ? NO_SLOT : held.index.find(from, object, index);
    if (target === undefined || slot === NO_SLOT) {
      if (isBelow) held.dropNamed(to, object, index);
      return isBelow;
    }
    held.dropNamed(to, object, index);
    if (!isBelow) this.#next?.flushPage(to, object, index);
    const isMoved = held.move(slot, target, object);
    // A copy below that found no room for its new name would be nobody's under the old one.
    if (isMoved && !isBelow) this.#next?.flushPage(from, object, index);
    held.budget.fit(target.tenant);
    if (isMoved || !isBelow) return isMoved;
    held.drop(slot); // the copy below has the new name and stands for both
    return this.has(to, object, index);
  }

  peek(pool: number, object: number, index: number, page: EncodedPage): boolean {
    const slot = this.held.index.find(pool, object, index);
    if (slot === NO_SLOT) return this.#next?.peek(pool, object, index, page) ?? false;
    this.held.peek(slot, page);
    return true;
  }

  *objectsOf(pool: number): Iterable<number> {
    const seen = new Set<number>();
    for (const object of this.held.index.objectsOf(pool)) {
      seen.add(object);
      yield object;
    }
    for (const object of this.#next?.objectsOf(pool) ?? []) if (!seen.has(object)) yield object;
  }

  indexesOf(pool: number, object: number): Uint32Array {
    const here = this.held.index.indexesOf(pool, object);
    const below = this.#next?.indexesOf(pool, object);
    if (below === undefined || below.length === 0) return here;
    const { index } = this.held;
    const others = below.filter((page) => index.find(pool, object, page) === NO_SLOT);
    const all = new Uint32Array(here.length + others.length);
    all.set(here);
    all.set(others, here.length);
    return all;
  }

  /**
   * What is above its limit here goes first; then the layer below gives, then this one again. What
   * has to leave here is dropped: putting it into the layer below would take memory again.
   */
  shrink(bytes: number): number {
    const { budget } = this.held;
    const excess = Math.min(bytes, budget.usedBytes - budget.limitBytes);
    const freed = excess > 0 ? this.#give(excess) : 0;
    const wanted = bytes - freed;
    if (wanted <= 0) return freed;
    const freedBelow = this.#next?.shrink(wanted) ?? 0;
    return freed + freedBelow + this.#give(wanted - freedBelow);
  }

  /** See `Layer`. What is below is wanted less; and what leaves here could not go there. */
  trimToCaps(pagesMax: number): number {
    const { held } = this;
    const kept: number[] = [];
    let count = this.#next?.trimToCaps(pagesMax) ?? 0;
    for (let tries = VICTIMS_PER_PAGE * pagesMax; tries > 0 && count < pagesMax; tries--) {
      const tenant = held.tenants.aboveCap();
      if (tenant === undefined) break;
      const slot = this.#victimOf(tenant);
      if (!this.#mayDrop(slot)) {
        kept.push(slot);
        continue;
      }
      held.release(slot);
      this.#statistics.evictedForCapacity++;
      count++;
    }
    for (const slot of kept) held.queue(slot);
    return count;
  }

  /** Gives about that much back from here alone, to the system as well. */
  #give(bytes: number): number {
    const { slabs } = this.held;
    slabs.isGivingBack = true;
    try {
      return this.#giveUp(bytes);
    } finally {
      slabs.isGivingBack = false;
    }
  }

  #giveUp(bytes: number): number {
    const { held } = this;
    const before = held.budget.usedBytes;
    const kept: number[] = [];
    let victims = VICTIMS_PER_SHRINK_MIN + bytes / BYTES_PER_VICTIM;
    while (before - held.budget.usedBytes < bytes && victims-- > 0) {
      if (held.compact() > 0) continue;
      const tenant = held.tenants.choose(undefined);
      if (tenant === undefined) break;
      const slot = this.#victimOf(tenant);
      if (this.#mayDrop(slot)) {
        held.release(slot);
        this.#statistics.evictedForShrink++;
      } else {
        kept.push(slot);
      }
    }
    for (const slot of kept) held.queue(slot);
    // What the policies remember now must not take the layer above its limit.
    if (before <= held.budget.limitBytes) held.budget.fit(undefined);
    held.slabs.releaseArenas(SLABS_MOVED_PER_SHRINK_MAX);
    return before - held.budget.usedBytes;
  }

  #store(
    isKnown: boolean,
    pool: HeldPool | undefined,
    object: number,
    index: number,
    encoding: Encoding,
    src: Buffer,
    srcOffset: number,
    length: number,
  ): PutOutcome {
    if (pool === undefined) return REFUSED_POOL;
    if (pool.pageBytes > this.#options.pageBytesMax) return REFUSED_POOL;
    if (this.isFrozen && !isKnown) return REFUSED_FROZEN;
    const { store } = this.#options;
    return store(pool, object, index, encoding, src, srcOffset, length);
  }

  /** One step towards room: a slab by compaction, else the memory of a page; false if it is over. */
  #makeRoom(asking: Tenant | undefined): boolean {
    return this.held.compact() > 0 || this.#evictOne(asking);
  }

  /**
   * Lets the first of the next victims go that can. A persistent page that the layer below refuses
   * has nowhere to go and stays; then another account is asked, if there is one that may be.
   */
  #evictOne(asking: Tenant | undefined): boolean {
    const { tenants } = this.held;
    let isAnyStuck = false;
    for (let tries = 0; tries < VICTIMS_PER_STEP_MAX; tries++) {
      let tenant = tenants.choose(asking, isAnyStuck);
      if (tenant === undefined && isAnyStuck) {
        tenants.forgetStuck(); // everybody was asked once: once more
        tenant = tenants.choose(asking);
      }
      if (tenant === undefined) return false;
      if (this.#evictFrom(tenant)) return true;
      if (!isAnyStuck) tenants.forgetStuck();
      tenants.noteStuck(tenant);
      isAnyStuck = true;
    }
    return false;
  }

  /** Makes the account give up pages of this layer, until so many bytes more are within its cap. */
  #fitCap(tenant: Tenant, bytes: number): boolean {
    const { account } = tenant;
    for (let tries = this.#options.triesPerPutMax; tries > 0; tries--) {
      if (tenant.policy.count === 0) return false;
      this.#evictFrom(tenant);
      if (account.usedBytes + bytes <= account.capBytes) return true;
    }
    return false;
  }

  /** Evicts the tenant's next victim; false when that has nowhere to go and must stay. */
  #evictFrom(tenant: Tenant): boolean {
    const slot = this.#victimOf(tenant);
    if (!this.#pushDown(slot, tenant) && this.held.pages.isPersistent(slot)) {
      this.held.queue(slot);
      return false;
    }
    this.held.release(slot);
    this.#statistics.evictedForCapacity++;
    return true;
  }

  /** Takes the next victim out of the policy of a tenant that has one. */
  #victimOf(tenant: Tenant): number {
    this.held.tenants.size(tenant);
    return tenant.policy.evict();
  }

  /** Whether the layer below has the page now: it took it, or its copy was there. */
  #pushDown(slot: number, { account }: Tenant): boolean {
    if (this.#next === undefined) return false;
    if (this.#isBelow(slot)) return true;
    const { index } = this.held;
    const page = this.#pushed;
    this.held.peek(slot, page);
    const { encoding, buffer, offset, length } = page;
    // The page is about to leave from here: below it must not count against the cap twice.
    const charge = this.held.chargeOf(slot);
    account.usedBytes -= charge;
    const outcome = this.#next.put(
      index.poolOf(slot),
      index.objectOf(slot),
      index.indexOf(slot),
      encoding,
      buffer,
      offset,
      length,
    );
    account.usedBytes += charge;
    if (isRefused(outcome)) return false;
    this.#statistics.pushedDown++;
    return true;
  }

  /** Whether the page may vanish from here: it is ephemeral, or its copy is below. */
  #mayDrop(slot: number): boolean {
    return !this.held.pages.isPersistent(slot) || this.#isBelow(slot);
  }

  #isBelow(slot: number): boolean {
    if (this.#next === undefined) return false;
    const { index } = this.held;
    return this.#next.has(index.poolOf(slot), index.objectOf(slot), index.indexOf(slot));
  }

  /** Drops the pages; answers how many of them have no copy below, where all are counted. */
  #dropAll(slots: readonly number[]): number {
    let count = 0;
    for (const slot of slots) {
      if (!this.#isBelow(slot)) count++;
      this.held.drop(slot);
    }
    this.#statistics.flushed += slots.length;
    return count;
  }
}
