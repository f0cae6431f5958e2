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
import { HeldPages, type HeldPagesOptions } from './held-pages.ts';

/** Victims that one step towards room tries, where persistent ones may have nowhere to go. */
const VICTIMS_PER_STEP_MAX = 10;

/** Pages that one call of `shrink` may look at: so many, and one more for each so many bytes. */
const VICTIMS_PER_SHRINK_MIN = 64;
const BYTES_PER_VICTIM = 128;
/** Slabs that one call moves so that arenas get empty: 256 KiB each at most. */
const SLABS_MOVED_PER_SHRINK_MAX = 4;

export interface LayerFrameOptions extends Omit<HeldPagesOptions, 'makeRoom' | 'filledEvicted'> {
  readonly statistics: LayerStatistics;
  readonly next: Layer | undefined;
  /** Stores a page of a known pool that is not here, or says why not. */
  readonly store: (
    pool: PoolDescription,
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
      makeRoom: () => this.#makeRoom(),
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
    const stored = this.#store(hadOlder, pool, object, index, encoding, src, srcOffset, length);
    const outcome = stored === STORED && hadOlder ? REPLACED : stored;
    this.#statistics.puts[outcome]!++;
    if (isRefused(outcome)) {
      const below = this.#next?.put(pool, object, index, encoding, src, srcOffset, length);
      this.held.budget.fit();
      if (below === undefined || isRefused(below)) return outcome;
      return hadOlder ? REPLACED : below;
    }
    const wasBelow = this.#next?.flushPage(pool, object, index) ?? false;
    this.held.budget.fit(); // not earlier: it may push down the very page, which the flush drops
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
    held.budget.fit();
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

  /** Gives about that much back from here alone. */
  #give(bytes: number): number {
    const { held } = this;
    const before = held.budget.usedBytes;
    const kept: number[] = [];
    let victims = VICTIMS_PER_SHRINK_MIN + bytes / BYTES_PER_VICTIM;
    while (before - held.budget.usedBytes < bytes && victims-- > 0) {
      if (held.compact() > 0) continue;
      const slot = held.policy.evict();
      if (slot < 0) break;
      if (this.#mayDrop(slot)) {
        held.release(slot);
        this.#statistics.evictedForShrink++;
      } else {
        kept.push(slot);
      }
    }
    for (const slot of kept) held.queue(slot);
    // What the policy remembers now must not take the layer above its limit.
    if (before <= held.budget.limitBytes) held.budget.fit();
    held.slabs.releaseArenas(SLABS_MOVED_PER_SHRINK_MAX);
    return before - held.budget.usedBytes;
  }

  #store(
    isKnown: boolean,
    pool: number,
    object: number,
    index: number,
    encoding: Encoding,
    src: Buffer,
    srcOffset: number,
    length: number,
  ): PutOutcome {
    const description = this.held.poolOf(pool);
    if (description === undefined) return REFUSED_POOL;
    if (description.pageBytes > this.#options.pageBytesMax) return REFUSED_POOL;
    if (this.isFrozen && !isKnown) return REFUSED_FROZEN;
    const { store } = this.#options;
    return store(description, object, index, encoding, src, srcOffset, length);
  }

  /** One step towards room: a slab by compaction, else the memory of a page; false if it is over. */
  #makeRoom(): boolean {
    if (this.held.compact() > 0) return true;
    if (!this.#evictOne()) return false;
    this.#statistics.evictedForCapacity++;
    return true;
  }

  /**
   * Lets the first of the policy's next victims go that can: it is pushed down unless its copy is
   * below already. A persistent page that the layer below refuses has nowhere to go and stays.
   */
  #evictOne(): boolean {
    const { held } = this;
    for (let tries = 0; tries < VICTIMS_PER_STEP_MAX; tries++) {
      const slot = held.policy.evict();
      if (slot < 0) return false;
      if (this.#pushDown(slot) || !held.pages.isPersistent(slot)) {
        held.release(slot);
        return true;
      }
      held.queue(slot);
    }
    return false;
  }

  /** Whether the layer below has the page now: it took it, or its copy was there. */
  #pushDown(slot: number): boolean {
    if (this.#next === undefined) return false;
    if (this.#isBelow(slot)) return true;
    const { index } = this.held;
    const page = this.#pushed;
    this.held.peek(slot, page);
    const { encoding, buffer, offset, length } = page;
    const outcome = this.#next.put(
      index.poolOf(slot),
      index.objectOf(slot),
      index.indexOf(slot),
      encoding,
      buffer,
      offset,
      length,
    );
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
