/**
 * What every layer does alike: the frame around storing a page, flushing and moving, with the layer
 * below as the place for what this one does not hold or take. A layer says how it stores a page;
 * the rules of `tmem/layer.ts` are kept here, once.
 */

import {
  createLayerStatistics,
  type EncodedPage,
  type Encoding,
  type GetOutcome,
  isRefused,
  type Layer,
  type LayerStatistics,
  type LayerUsage,
  MISS,
  type PoolDescription,
  type PutOutcome,
  REFUSED_FROZEN,
  REFUSED_POOL,
  REPLACED,
  STORED,
} from '../tmem/layer.ts';
import { NO_SLOT } from '../tmem/page-index.ts';
import { Eviction } from './eviction.ts';
import { HeldPages, type HeldPagesOptions, type HeldPool } from './held-pages.ts';

/** What the layers differ in, and what is below. */
export interface LayerFrameOptions
  extends Omit<HeldPagesOptions, 'makeRoom' | 'fitCap' | 'filledEvicted' | 'freeLocation'> {
  readonly next: Layer | undefined;
}

export abstract class LayerFrame implements Layer {
  abstract readonly name: string;
  readonly statistics: LayerStatistics = createLayerStatistics();
  isFrozen = false;
  protected readonly held: HeldPages;
  readonly #options: LayerFrameOptions;
  protected readonly next: Layer | undefined;
  readonly #eviction: Eviction;

  constructor(options: LayerFrameOptions) {
    this.#options = options;
    this.next = options.next;
    this.held = new HeldPages({
      ...options,
      makeRoom: (asking) => this.#eviction.makeRoom(asking),
      fitCap: (tenant, bytes) => this.#eviction.fitCap(tenant, bytes),
      filledEvicted: () => {
        this.statistics.evictedForFilledCap++;
      },
      freeLocation: (location) => this.freeLocation(location),
    });
    const { held, statistics } = this;
    this.#eviction = new Eviction({ ...options, held, statistics });
  }

  abstract get(
    pool: number,
    object: number,
    index: number,
    dst: Buffer,
    dstOffset: number,
    isUse?: boolean,
  ): GetOutcome;

  abstract put(
    pool: number,
    object: number,
    index: number,
    encoding: Encoding,
    src: Buffer,
    srcOffset: number,
    length: number,
  ): PutOutcome;

  /** Stores a page of a known pool that is not here, or says why not. */
  protected abstract store(
    pool: HeldPool,
    object: number,
    index: number,
    encoding: Encoding,
    src: Buffer,
    srcOffset: number,
    length: number,
  ): PutOutcome;

  /** Copies the page that is here in `slot`, decoded; a MISS, and `dst` untouched, if it is malformed. */
  protected abstract copyOut(
    slot: number,
    pageBytes: number,
    dst: Buffer,
    dstOffset: number,
  ): GetOutcome;

  /** Frees the bytes of a page that leaves. */
  protected freeLocation(location: number): void {
    this.held.slabs.free(location);
  }

  /** See `Layer`. A layer that encodes pages never does. */
  overwrites(
    _pool: number,
    _object: number,
    _index: number,
    _src: Buffer,
    _srcOffset: number,
  ): boolean {
    return false;
  }

  createPool(pool: PoolDescription): void {
    this.held.createPool(pool);
    this.next?.createPool(pool);
  }

  has(pool: number, object: number, index: number): boolean {
    if (this.held.index.find(pool, object, index) !== NO_SLOT) return true;
    return this.next?.has(pool, object, index) ?? false;
  }

  /**
   * Stores a page whose older version here, if `hadOlder`, has been dropped: whatever fails from
   * now on, it can not be read again (rule 1). What is refused goes to the next layer.
   */
  protected putNew(
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
    const stored = this.#storeIfTaken(
      hadOlder,
      held,
      object,
      index,
      encoding,
      src,
      srcOffset,
      length,
    );
    const outcome = stored === STORED && hadOlder ? REPLACED : stored;
    this.statistics.puts[outcome]!++;
    if (isRefused(outcome)) {
      const below = this.next?.put(pool, object, index, encoding, src, srcOffset, length);
      if (held !== undefined) this.held.budget.fit(held.tenant);
      if (below === undefined || isRefused(below)) return outcome;
      return hadOlder ? REPLACED : below;
    }
    const wasBelow = this.next?.flushPage(pool, object, index) ?? false;
    // Not earlier: it may push down the very page, which the flush would drop.
    if (held !== undefined) this.held.budget.fit(held.tenant);
    return wasBelow ? REPLACED : outcome;
  }

  flushPage(pool: number, object: number, index: number): boolean {
    const wasHere = this.held.dropNamed(pool, object, index);
    if (wasHere) this.statistics.flushed++;
    const wasBelow = this.next?.flushPage(pool, object, index) ?? false;
    return wasHere || wasBelow;
  }

  flushObject(pool: number, object: number): number {
    const count = this.#dropAll(this.held.index.slotsOf(pool, object));
    return count + (this.next?.flushObject(pool, object) ?? 0);
  }

  destroyPool(pool: number): number {
    const count = this.#dropAll(this.held.index.slotsOfPool(pool));
    this.held.forgetPool(pool);
    return count + (this.next?.destroyPool(pool) ?? 0);
  }

  transfer(from: number, to: number, object: number, index: number): boolean {
    if (!this.has(from, object, index)) return false;
    const { held } = this;
    held.dropNamed(to, object, index); // first, as in a put: whatever fails, it is not read again
    const isBelow = this.next?.transfer(from, to, object, index) ?? false;
    if (!isBelow) this.next?.flushPage(to, object, index);
    const target = held.poolOf(to);
    const slot = target === undefined ? NO_SLOT : held.index.find(from, object, index);
    if (target === undefined || slot === NO_SLOT) return isBelow;
    const isMoved = held.move(slot, target, object);
    // A copy below that found no room for its new name would be nobody's under the old one.
    if (isMoved && !isBelow) this.next?.flushPage(from, object, index);
    const isBelowOnly = isBelow && !isMoved;
    // The copy below has the new name and stands for both. Not later: room may be made with this one.
    if (isBelowOnly) held.drop(slot);
    held.budget.fit(target.tenant);
    return isBelowOnly ? this.has(to, object, index) : isMoved;
  }

  copy(pool: number, object: number, index: number, dst: Buffer, dstOffset: number): GetOutcome {
    const slot = this.held.index.find(pool, object, index);
    if (slot === NO_SLOT) return this.next?.copy(pool, object, index, dst, dstOffset) ?? MISS;
    return this.copyOut(slot, this.held.poolOf(pool)!.pageBytes, dst, dstOffset);
  }

  peek(pool: number, object: number, index: number, page: EncodedPage): boolean {
    const slot = this.held.index.find(pool, object, index);
    if (slot === NO_SLOT) return this.next?.peek(pool, object, index, page) ?? false;
    this.held.peek(slot, page);
    return true;
  }

  *objectsOf(pool: number): Iterable<number> {
    const seen = new Set<number>();
    for (const object of this.held.index.objectsOf(pool)) {
      seen.add(object);
      yield object;
    }
    for (const object of this.next?.objectsOf(pool) ?? []) if (!seen.has(object)) yield object;
  }

  indexesOf(pool: number, object: number): Uint32Array {
    const here = this.held.index.indexesOf(pool, object);
    const below = this.next?.indexesOf(pool, object);
    if (below === undefined || below.length === 0) return here;
    const { index } = this.held;
    const others = below.filter((page) => index.find(pool, object, page) === NO_SLOT);
    const all = new Uint32Array(here.length + others.length);
    all.set(here);
    all.set(others, here.length);
    return all;
  }

  setLimit(bytes: number): void {
    this.held.setLimit(bytes);
  }

  usage(): LayerUsage {
    return this.held.usage();
  }

  /**
   * What is above its limit here goes first; then the layer below gives, then this one again. What
   * has to leave here is dropped: putting it into the layer below would take memory again.
   */
  shrink(bytes: number): number {
    const { budget } = this.held;
    const excess = Math.min(bytes, budget.usedBytes - budget.limitBytes);
    const freed = excess > 0 ? this.#eviction.give(excess) : 0;
    const wanted = bytes - freed;
    if (wanted <= 0) return freed;
    const freedBelow = this.next?.shrink(wanted) ?? 0;
    return freed + freedBelow + this.#eviction.give(wanted - freedBelow);
  }

  /** See `Layer`. What is below is wanted less; and what leaves here could not go there. */
  trimToCaps(pagesMax: number): number {
    const below = this.next?.trimToCaps(pagesMax) ?? 0;
    return below + this.#eviction.trimToCaps(pagesMax - below);
  }

  #storeIfTaken(
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
    return this.store(pool, object, index, encoding, src, srcOffset, length);
  }

  /** Drops the pages; answers how many of them have no copy below, where all are counted. */
  #dropAll(slots: readonly number[]): number {
    let count = 0;
    for (const slot of slots) {
      if (!this.#eviction.isBelow(slot)) count++;
      this.held.drop(slot);
    }
    this.statistics.flushed += slots.length;
    return count;
  }
}
