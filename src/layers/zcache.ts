/**
 * zcache: pages in compressed memory.
 *
 * A same-filled page is its four bytes, kept in the index's row. A page that LZ4 shortens enough to
 * fit a smaller size class is one block in a slab; any other is kept as it is, and remembered as
 * such: no page is compressed twice. Ephemeral pages are queued in an eviction policy and leave when
 * room is needed; persistent pages are in no queue and stay until flushed.
 *
 * Source: zcache2 and zswap (Linux); same-filled pages and raw storage after zram.
 */

import type { EvictionPolicy, PolicyFactory } from '../policy/policy.ts';
import { Budget } from '../tmem/budget.ts';
import {
  createLayerStatistics,
  type Encoding,
  FILLED,
  type GetOutcome,
  HIT,
  HIT_ZERO,
  isRefused,
  type Layer,
  type LayerUsage,
  MISS,
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
import { NO_SLOT, PageIndex } from '../tmem/page-index.ts';
import { NO_LOCATION, Slabs } from '../tmem/slabs.ts';
import type { PageCodec } from './codec.ts';
import { FilledQueue } from './filled-queue.ts';
import { PageEncoder } from './page-encoder.ts';
import { PageTable, ROW_BYTES } from './page-table.ts';

export interface ZcacheOptions {
  /** Bytes that data and metadata together may take; hard. */
  readonly limitBytes: number;
  /** The largest page of any pool, bytes. */
  readonly pageBytesMax: number;
  readonly codec: PageCodec;
  readonly policy: PolicyFactory;
  readonly next?: Layer;
  /** Asked before every allocation of memory; a test makes it answer false. */
  readonly mayAllocate?: () => boolean;
}

/** The share of the limit that same-filled pages' metadata may take. */
const FILLED_SHARE = 0.05;
/** Metadata charged for each page, bytes: what a slot costs in all tables. */
const PAGE_METADATA_BYTES = 44;
/** A put makes at most this many tries for room; then it is refused (Xen: 10; here pages vary). */
const TRIES_PER_PUT_MAX = 128;

/** What a slot that was never used before costs in the row and the policy, at most. */
const FRESH_SLOT_BYTES = ROW_BYTES + 16;

export class Zcache implements Layer {
  readonly name = 'zcache';
  readonly statistics = createLayerStatistics();
  isFrozen = false;

  readonly #options: ZcacheOptions;
  readonly #next: Layer | undefined;
  readonly #encoder: PageEncoder;
  readonly #index: PageIndex;
  readonly #pages: PageTable;
  readonly #slabs: Slabs;
  readonly #policy: EvictionPolicy;
  readonly #budget: Budget;
  readonly #pools: (PoolDescription | undefined)[] = [];
  readonly #filledQueue: FilledQueue;
  #filledCount = 0;
  #rawCount = 0;
  #storedBytes = 0;

  constructor(options: ZcacheOptions) {
    const { limitBytes, pageBytesMax } = options;
    this.#options = options;
    this.#next = options.next;
    this.#encoder = new PageEncoder(options.codec, pageBytesMax);
    const filledMax = Math.max(16, Math.floor((limitBytes * FILLED_SHARE) / PAGE_METADATA_BYTES));
    const slotCount = Math.ceil(limitBytes / 512) + filledMax + 64;
    this.#index = new PageIndex(slotCount);
    this.#pages = new PageTable(slotCount);
    this.#filledQueue = new FilledQueue(filledMax, this.#pages);
    this.#slabs = new Slabs({
      slabBytes: slabBytesFor(limitBytes, pageBytesMax),
      objectBytesMax: pageBytesMax,
      mayGrow: (bytes) => options.mayAllocate?.() !== false && this.#budget.allows(bytes),
    });
    this.#policy = options.policy({
      slotCount,
      capacityBytes: limitBytes,
      hashOf: (slot) => this.#index.hashOf(slot),
    });
    this.#budget = new Budget({
      limitBytes,
      usedBytes: () => this.#slabs.heldBytes + this.#metadataBytes,
      makeRoom: () => this.#makeRoom(),
      triesMax: TRIES_PER_PUT_MAX,
      pageBytes: (isSlotFresh) =>
        this.#filledQueue.growthBytes + (isSlotFresh ? FRESH_SLOT_BYTES : 0),
    });
  }

  createPool(pool: PoolDescription): void {
    this.#pools[pool.id] = pool;
    this.#index.createPool(pool.id);
    this.#next?.createPool(pool);
  }

  get(pool: number, object: number, index: number, dst: Buffer, dstOffset: number): GetOutcome {
    const slot = this.#index.find(pool, object, index);
    if (slot === NO_SLOT) {
      this.statistics.misses++;
      return this.#next === undefined ? MISS : this.#next.get(pool, object, index, dst, dstOffset);
    }
    const location = this.#pages.locationOf(slot);
    const encoding = this.#pages.encodingOf(slot);
    const { pageBytes } = this.#pools[pool]!;
    if (encoding === FILLED) {
      this.#encoder.fill(location, pageBytes, dst, dstOffset);
      this.statistics.hits++;
      return location === 0 ? HIT_ZERO : HIT;
    }
    if (encoding === RAW) {
      this.#slabs.copyOut(location, pageBytes, dst, dstOffset);
    } else {
      const start = this.#slabs.offsetAt(location);
      const end = start + this.#pages.lengthOf(slot);
      const block = this.#slabs.bufferAt(location);
      if (!this.#encoder.decode(block, start, end, pageBytes, dst, dstOffset)) {
        this.statistics.corrupt++;
        this.statistics.misses++;
        this.#drop(slot);
        return MISS;
      }
    }
    if (!this.#pages.isPersistent(slot)) this.#policy.touch(slot);
    this.statistics.hits++;
    return HIT;
  }

  has(pool: number, object: number, index: number): boolean {
    if (this.#index.find(pool, object, index) !== NO_SLOT) return true;
    return this.#next?.has(pool, object, index) ?? false;
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
    const stored = this.#store(hadOlder, pool, object, index, encoding, src, srcOffset, length);
    const outcome = stored === STORED && hadOlder ? REPLACED : stored;
    this.statistics.puts[outcome]!++;
    if (isRefused(outcome)) {
      const below = this.#next?.put(pool, object, index, encoding, src, srcOffset, length);
      this.#budget.fit();
      if (below === undefined || isRefused(below)) return outcome;
      return hadOlder ? REPLACED : below;
    }
    const wasBelow = this.#next?.flushPage(pool, object, index) ?? false;
    this.#budget.fit(); // not earlier: it may push down the very page, which the flush would drop
    return wasBelow ? REPLACED : outcome;
  }

  flushPage(pool: number, object: number, index: number): boolean {
    const wasHere = this.#dropOlder(pool, object, index);
    if (wasHere) this.statistics.flushed++;
    const wasBelow = this.#next?.flushPage(pool, object, index) ?? false;
    return wasHere || wasBelow;
  }

  flushObject(pool: number, object: number): number {
    const slots = this.#index.slotsOf(pool, object);
    for (const slot of slots) this.#drop(slot);
    this.statistics.flushed += slots.length;
    return slots.length + (this.#next?.flushObject(pool, object) ?? 0);
  }

  destroyPool(pool: number): number {
    const slots = this.#index.slotsOfPool(pool);
    for (const slot of slots) this.#drop(slot);
    this.statistics.flushed += slots.length;
    this.#index.forgetPool(pool);
    this.#pools[pool] = undefined;
    return slots.length + (this.#next?.destroyPool(pool) ?? 0);
  }

  /**
   * The layer below gives first. What then has to leave here is dropped: pushing it down would take
   * memory again.
   */
  shrink(bytes: number): number {
    const freedBelow = this.#next?.shrink(bytes) ?? 0;
    const before = this.#budget.usedBytes + freedBelow;
    while (before - this.#budget.usedBytes < bytes) {
      if (this.#slabs.compact(this.#moved) > 0) continue;
      const slot = this.#policy.evict();
      if (slot < 0) break;
      this.#release(slot);
      this.statistics.evictedForShrink++;
    }
    this.#slabs.releaseArenas();
    return before - this.#budget.usedBytes;
  }

  usage(): LayerUsage {
    return {
      rawPages: this.#rawCount,
      compressedPages: this.#index.count - this.#rawCount - this.#filledCount,
      filledPages: this.#filledCount,
      dataBytes: this.#slabs.heldBytes,
      storedBytes: this.#storedBytes,
      metadataBytes: this.#metadataBytes,
      limitBytes: this.#options.limitBytes,
    };
  }

  /** Bytes of every table that grows with the pages held. */
  get #metadataBytes(): number {
    return (
      this.#index.metadataBytes +
      this.#index.slotsTouched * ROW_BYTES +
      this.#policy.metadataBytes +
      this.#slabs.metadataBytes +
      this.#filledQueue.metadataBytes
    );
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
    length: number,
  ): PutOutcome {
    const description = this.#pools[pool];
    if (description === undefined) return REFUSED_POOL;
    if (description.pageBytes > this.#options.pageBytesMax) return REFUSED_POOL;
    if (this.isFrozen && !isKnown) return REFUSED_FROZEN;
    if (encoding !== RAW) {
      return this.#insert(description, object, index, encoding, src, srcOffset, length);
    }
    const shortest = this.#encode(src, srcOffset, description.pageBytes);
    const { encoded, length: encodedBytes } = this.#encoder;
    return this.#insert(description, object, index, shortest, encoded, 0, encodedBytes);
  }

  #encode(src: Buffer, srcOffset: number, pageBytes: number): Encoding {
    const encoding = this.#encoder.encode(src, srcOffset, pageBytes);
    if (encoding !== FILLED) {
      this.statistics.originalBytes += pageBytes;
      this.statistics.compressedBytes += this.#encoder.length;
    }
    return encoding;
  }

  #insert(
    pool: PoolDescription,
    object: number,
    index: number,
    encoding: Encoding,
    src: Buffer,
    srcOffset: number,
    length: number,
  ): PutOutcome {
    const { isPersistent } = pool;
    if (this.#options.mayAllocate?.() === false) return REFUSED_ALLOCATION;
    const slot = this.#budget.insert(this.#index, pool.id, object, index);
    if (slot === NO_SLOT) return REFUSED_METADATA;
    this.#pages.enter(slot, encoding, length, isPersistent);
    if (encoding === FILLED) {
      this.#pages.setLocation(slot, src.readInt32LE(srcOffset));
      this.#filledCount++;
      if (!isPersistent) this.#queueFilled(slot);
      return STORED;
    }
    // The new slot is in no queue yet, so making room cannot evict it.
    const location = this.#budget.allocate(this.#slabs, length, slot);
    if (location === NO_LOCATION) {
      this.#pages.leave(slot);
      this.#index.remove(slot);
      return REFUSED_LIMIT;
    }
    this.#slabs.copyIn(location, src, srcOffset, length);
    this.#pages.setLocation(slot, location);
    this.#storedBytes += length;
    if (encoding === RAW) this.#rawCount++;
    const charge = this.#slabs.sizeAt(location) + PAGE_METADATA_BYTES;
    if (!isPersistent) this.#policy.insert(slot, charge, this.#index.hashOf(slot));
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
    this.#pages.setLocation(slot, location);
  };

  /** Evicts the policy's victim, offering it to the next layer as it is encoded. */
  #evictOne(): boolean {
    const slot = this.#policy.evict();
    if (slot < 0) return false;
    if (this.#next !== undefined) this.#pushDown(slot, this.#next);
    this.#release(slot);
    return true;
  }

  #pushDown(slot: number, next: Layer): void {
    const location = this.#pages.locationOf(slot);
    const outcome = next.put(
      this.#index.poolOf(slot),
      this.#index.objectOf(slot),
      this.#index.indexOf(slot),
      this.#pages.encodingOf(slot),
      this.#slabs.bufferAt(location),
      this.#slabs.offsetAt(location),
      this.#pages.lengthOf(slot),
    );
    if (!isRefused(outcome)) this.statistics.pushedDown++;
  }

  /** Queues a same-filled page; when its kind is at its cap the oldest goes. */
  #queueFilled(slot: number): void {
    const victim = this.#filledQueue.push(slot);
    if (victim === NO_SLOT) return;
    this.#drop(victim);
    this.statistics.evictedForFilledCap++;
  }

  #drop(slot: number): void {
    const isFilled = this.#pages.encodingOf(slot) === FILLED;
    if (!isFilled && !this.#pages.isPersistent(slot)) this.#policy.remove(slot);
    this.#release(slot);
  }

  /** Frees the page's memory and its slot; the policy must not know the slot any more. */
  #release(slot: number): void {
    const encoding = this.#pages.encodingOf(slot);
    if (encoding === FILLED) {
      this.#filledCount--;
      if (!this.#pages.isPersistent(slot)) this.#filledQueue.left();
    } else {
      this.#slabs.free(this.#pages.locationOf(slot));
      this.#storedBytes -= this.#pages.lengthOf(slot);
      if (encoding === RAW) this.#rawCount--;
    }
    this.#pages.leave(slot);
    this.#index.remove(slot);
  }
}

/**
 * Larger slabs waste less behind their last object, smaller ones less in half-empty classes. Four
 * of the largest pages should fit one, unless the limit is so small that few such slabs would.
 */
function slabBytesFor(limitBytes: number, pageBytesMax: number): number {
  const least = Math.min(pageBytesMax * 4, limitBytes / 1024);
  const wanted = 2 ** Math.floor(Math.log2(Math.max(1, limitBytes / 4096, least)));
  return Math.max(pageBytesMax, Math.min(256 * 1024, Math.max(64 * 1024, wanted)));
}
