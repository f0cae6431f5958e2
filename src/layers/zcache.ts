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
  LZ4,
  MISS,
  PAGE_BYTES_MIN,
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
import { isSameFilled } from '../tmem/same-filled.ts';
import { NO_LOCATION, Slabs } from '../tmem/slabs.ts';
import type { PageCodec } from './codec.ts';

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
export const PAGE_METADATA_BYTES = 44;
/** A put evicts at most this many pages for room; then it is refused (Xen: 10; here pages vary). */
const EVICTIONS_PER_PUT_MAX = 32;

// A row holds the location (or the fill word), and the length with the encoding above it.
const ROW = 2;
const LENGTH_MASK = 0xfffff;
const ENCODING_SHIFT = 20;
const PERSISTENT = 1 << 24;

/** Scratch for one page size, made once. */
class Scratch {
  readonly page: Buffer;
  readonly words: Int32Array;

  constructor(pageBytes: number) {
    this.page = Buffer.from(new ArrayBuffer(pageBytes));
    this.words = new Int32Array(this.page.buffer);
  }
}

export class Zcache implements Layer {
  readonly name = 'zcache';
  readonly statistics = createLayerStatistics();
  isFrozen = false;

  readonly #options: ZcacheOptions;
  readonly #next: Layer | undefined;
  readonly #codec: PageCodec;
  readonly #index: PageIndex;
  readonly #rows: Int32Array;
  readonly #slabs: Slabs;
  readonly #policy: EvictionPolicy;
  readonly #pools: (PoolDescription | undefined)[] = [];
  readonly #scratch: Scratch[] = [];
  readonly #block: Buffer;
  /** Slots of ephemeral same-filled pages in order of arrival; entries may be out of date. */
  readonly #filledQueue: Int32Array;
  readonly #filledMax: number;
  #filledHead = 0;
  #filledQueued = 0;
  #filledCount = 0;
  #rawCount = 0;
  #storedBytes = 0;
  #limitBytes: number;

  constructor(options: ZcacheOptions) {
    this.#options = options;
    this.#next = options.next;
    this.#codec = options.codec;
    this.#limitBytes = options.limitBytes;
    this.#filledMax = Math.max(16, Math.floor((this.#limitBytes * FILLED_SHARE) / PAGE_METADATA_BYTES));
    const slotCount = Math.ceil(this.#limitBytes / 512) + this.#filledMax + 64;
    this.#filledQueue = new Int32Array(this.#filledMax);
    this.#index = new PageIndex(slotCount);
    this.#rows = new Int32Array(slotCount * ROW);
    this.#block = Buffer.from(new ArrayBuffer(options.pageBytesMax));
    for (let bytes = PAGE_BYTES_MIN; bytes <= options.pageBytesMax; bytes *= 2) {
      this.#scratch[Math.log2(bytes)] = new Scratch(bytes);
    }
    this.#slabs = new Slabs({
      slabBytes: slabBytesFor(this.#limitBytes, options.pageBytesMax),
      objectBytesMax: options.pageBytesMax,
      mayGrow: (bytes) => this.#mayGrow(bytes),
    });
    this.#policy = options.policy({
      slotCount,
      capacityBytes: this.#limitBytes,
      hashOf: (slot) => this.#index.hashOf(slot),
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
    const location = this.#rows[slot * ROW]!;
    const state = this.#rows[slot * ROW + 1]!;
    const pageBytes = this.#pools[pool]!.pageBytes;
    const encoding = (state >>> ENCODING_SHIFT) & 3;
    if (encoding === LZ4) {
      const offset = this.#slabs.offsetAt(location);
      const scratch = this.#scratch[31 - Math.clz32(pageBytes)]!;
      const end = offset + (state & LENGTH_MASK);
      if (!this.#codec.decode(this.#slabs.bufferAt(location), offset, end, scratch.page)) {
        this.statistics.corrupt++;
        this.statistics.misses++;
        this.#drop(slot);
        return MISS;
      }
      dst.set(scratch.page, dstOffset);
    } else if (encoding === RAW) {
      this.#slabs.copyOut(location, pageBytes, dst, dstOffset);
    } else {
      const scratch = this.#scratch[31 - Math.clz32(pageBytes)]!;
      scratch.words.fill(location);
      dst.set(scratch.page, dstOffset);
      this.statistics.hits++;
      return location === 0 ? HIT_ZERO : HIT;
    }
    if ((state & PERSISTENT) === 0) this.#policy.touch(slot);
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
    const outcome = this.#store(pool, object, index, encoding, src, srcOffset, length);
    this.statistics.puts[outcome]!++;
    if (this.#next === undefined) return outcome;
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
    const wasBelow = this.#next?.flushPage(pool, object, index) ?? false;
    return slot !== NO_SLOT || wasBelow;
  }

  flushObject(pool: number, object: number): number {
    const slots = this.#index.slotsOf(pool, object);
    for (const slot of slots) this.#drop(slot);
    this.statistics.flushed += slots.length;
    return slots.length + (this.#next?.flushObject(pool, object) ?? 0);
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
    return count + (this.#next?.destroyPool(pool) ?? 0);
  }

  shrink(bytes: number): number {
    const before = this.#slabs.heldBytes;
    let freed = 0;
    while (freed < bytes) {
      if (this.#slabs.compact(this.#moved) === 0) {
        if (!this.#evictOne()) break;
        this.statistics.evictedForShrink++;
      }
      freed = before - this.#slabs.heldBytes;
    }
    this.#slabs.releaseArenas();
    const rest = bytes - freed;
    return rest > 0 && this.#next !== undefined ? freed + this.#next.shrink(rest) : freed;
  }

  usage(): LayerUsage {
    return {
      rawPages: this.#rawCount,
      compressedPages: this.#index.count - this.#rawCount - this.#filledCount,
      filledPages: this.#filledCount,
      dataBytes: this.#slabs.heldBytes,
      storedBytes: this.#storedBytes,
      metadataBytes: this.#metadataBytes,
      limitBytes: this.#limitBytes,
    };
  }

  /** Bytes of every table that grows with the pages held. */
  get #metadataBytes(): number {
    return (
      this.#index.metadataBytes +
      this.#index.slotsTouched * ROW * 4 +
      this.#policy.metadataBytes +
      this.#slabs.metadataBytes +
      Math.min(this.#filledQueued, this.#filledMax) * 4
    );
  }

  #mayGrow(bytes: number): boolean {
    if (this.#options.mayAllocate?.() === false) return false;
    return this.#slabs.heldBytes + bytes + this.#metadataBytes <= this.#limitBytes;
  }

  /** Stores the page here, or drops every older version of it here and says why. */
  #store(
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
    // The old version goes first: whatever fails from here on, it can not be read again (rule 1).
    const old = this.#index.find(pool, object, index);
    if (old !== NO_SLOT) this.#drop(old);
    if (this.isFrozen && old === NO_SLOT) return REFUSED_FROZEN;
    if (description.pageBytes > this.#options.pageBytesMax) return REFUSED_POOL;
    const outcome =
      encoding === RAW
        ? this.#storePage(description, object, index, src, srcOffset)
        : this.#insert(description, object, index, encoding, src, srcOffset, length);
    return outcome === STORED && old !== NO_SLOT ? REPLACED : outcome;
  }

  /** Finds the shortest encoding of a page, then stores that. */
  #storePage(
    pool: PoolDescription,
    object: number,
    index: number,
    src: Buffer,
    srcOffset: number,
  ): PutOutcome {
    const { pageBytes } = pool;
    const scratch = this.#scratch[31 - Math.clz32(pageBytes)]!;
    const { page } = scratch;
    page.set(src.subarray(srcOffset, srcOffset + pageBytes));
    if (isSameFilled(scratch.words)) {
      return this.#insert(pool, object, index, FILLED, page, 0, 4);
    }
    // A block is worth its decoding only if it fits a smaller class than the page itself.
    const limit = pageBytes - pageBytes / 16;
    const length = this.#codec.encode(page, this.#block, limit);
    this.statistics.originalBytes += pageBytes;
    this.statistics.compressedBytes += length === 0 ? pageBytes : length;
    return length === 0
      ? this.#insert(pool, object, index, RAW, page, 0, pageBytes)
      : this.#insert(pool, object, index, LZ4, this.#block, 0, length);
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
    if (!this.#makeMetadataRoom()) return REFUSED_METADATA;
    if (this.#options.mayAllocate?.() === false) return REFUSED_ALLOCATION;
    const isPersistent = pool.isPersistent;
    const slot = this.#index.insert(pool.id, object, index);
    if (slot === NO_SLOT) return REFUSED_METADATA;
    const row = slot * ROW;
    this.#rows[row + 1] = (encoding << ENCODING_SHIFT) | length | (isPersistent ? PERSISTENT : 0);
    if (encoding === FILLED) {
      this.#rows[row] = src.readInt32LE(srcOffset);
      this.#filledCount++;
      if (!isPersistent) this.#queueFilled(slot);
      return STORED;
    }
    // The new slot is in no queue yet, so making room cannot evict it.
    const location = this.#allocate(length, slot);
    if (location === NO_LOCATION) {
      this.#index.remove(slot);
      return REFUSED_LIMIT;
    }
    this.#slabs.copyIn(location, src, srcOffset, length);
    this.#rows[row] = location;
    this.#storedBytes += length;
    if (encoding === RAW) this.#rawCount++;
    const charge = this.#slabs.sizeFor(length) + PAGE_METADATA_BYTES;
    if (!isPersistent) this.#policy.insert(slot, charge, this.#index.hashOf(slot));
    return STORED;
  }

  /** A place for `bytes`, evicting and compacting for it; bounded. */
  #allocate(bytes: number, slot: number): number {
    let location = this.#slabs.allocate(bytes, slot);
    for (let tries = 0; location === NO_LOCATION && tries < EVICTIONS_PER_PUT_MAX; tries++) {
      if (this.#slabs.compact(this.#moved) === 0 && !this.#evictForCapacity()) break;
      location = this.#slabs.allocate(bytes, slot);
    }
    return location;
  }

  /** Room for one more slot: always, while a free one exists or the limit allows a new one. */
  #makeMetadataRoom(): boolean {
    const index = this.#index;
    if (index.count < index.slotsTouched) return true;
    const held = this.#slabs.heldBytes + this.#metadataBytes;
    const isRoom = held + PAGE_METADATA_BYTES * 2 <= this.#limitBytes;
    if (isRoom && index.slotsTouched < index.slotCountMax) return true;
    return this.#evictForCapacity();
  }

  readonly #moved = (slot: number, location: number): void => {
    this.#rows[slot * ROW] = location;
  };

  #evictForCapacity(): boolean {
    if (!this.#evictOne()) return false;
    this.statistics.evictedForCapacity++;
    return true;
  }

  /** Evicts the policy's victim, offering it to the next layer as it is encoded. */
  #evictOne(): boolean {
    const slot = this.#policy.evict();
    if (slot < 0) return false;
    if (this.#next !== undefined) this.#pushDown(slot, this.#next);
    this.#release(slot);
    return true;
  }

  #pushDown(slot: number, next: Layer): void {
    const location = this.#rows[slot * ROW]!;
    const state = this.#rows[slot * ROW + 1]!;
    const outcome = next.put(
      this.#index.poolOf(slot),
      this.#index.objectOf(slot),
      this.#index.indexOf(slot),
      ((state >>> ENCODING_SHIFT) & 3) as Encoding,
      this.#slabs.bufferAt(location),
      this.#slabs.offsetAt(location),
      state & LENGTH_MASK,
    );
    if (!isRefused(outcome)) this.statistics.pushedDown++;
  }

  /** Queues a same-filled page; when its kind is at its cap the oldest goes. */
  #queueFilled(slot: number): void {
    if (this.#filledQueued === this.#filledMax) {
      const oldest = this.#filledQueue[this.#filledHead]!;
      if (oldest !== slot && this.#isEphemeralFilled(oldest)) {
        this.#drop(oldest);
        this.statistics.evictedForFilledCap++;
      }
      this.#filledQueue[this.#filledHead] = slot;
      this.#filledHead = (this.#filledHead + 1) % this.#filledMax;
      return;
    }
    this.#filledQueue[(this.#filledHead + this.#filledQueued) % this.#filledMax] = slot;
    this.#filledQueued++;
  }

  /** An entry of the queue is out of date when its slot was freed or holds another kind now. */
  #isEphemeralFilled(slot: number): boolean {
    const state = this.#rows[slot * ROW + 1]!;
    return ((state >>> ENCODING_SHIFT) & 3) === FILLED && (state & PERSISTENT) === 0;
  }

  #drop(slot: number): void {
    const state = this.#rows[slot * ROW + 1]!;
    const isQueued = ((state >>> ENCODING_SHIFT) & 3) !== FILLED && (state & PERSISTENT) === 0;
    if (isQueued) this.#policy.remove(slot);
    this.#release(slot);
  }

  /** Frees the page's memory and its slot; the policy must not know the slot any more. */
  #release(slot: number): void {
    const row = slot * ROW;
    const state = this.#rows[row + 1]!;
    const encoding = (state >>> ENCODING_SHIFT) & 3;
    if (encoding === FILLED) {
      this.#filledCount--;
    } else {
      this.#slabs.free(this.#rows[row]!);
      this.#storedBytes -= state & LENGTH_MASK;
      if (encoding === RAW) this.#rawCount--;
    }
    this.#rows[row + 1] = 0;
    this.#index.remove(slot);
  }
}

/** Larger slabs waste less behind their last object, smaller ones less in half-empty classes. */
function slabBytesFor(limitBytes: number, pageBytesMax: number): number {
  const wanted = 2 ** Math.floor(Math.log2(Math.max(1, limitBytes / 4096)));
  return Math.max(pageBytesMax, Math.min(256 * 1024, Math.max(64 * 1024, wanted)));
}
