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

import {
  type Encoding,
  FILLED,
  type GetOutcome,
  HIT,
  HIT_ZERO,
  type Layer,
  MISS,
  type PutOutcome,
  RAW,
} from '../tmem/layer.ts';
import { NO_SLOT, type PageIndex, SLOT_COUNT_MAX } from '../tmem/page-index.ts';
import type { Slabs } from '../tmem/slabs.ts';
import type { PageCodec } from './codec.ts';
import {
  FILLED_SHARE,
  type HeldPool,
  type LayerOptions,
  PAGE_METADATA_BYTES,
} from './held-pages.ts';
import { LayerFrame } from './layer-frame.ts';
import { PageEncoder } from './page-encoder.ts';
import type { PageTable } from './page-table.ts';
import { slabBytesNear } from './slab-bytes.ts';

export interface ZcacheOptions extends LayerOptions {
  readonly codec: PageCodec;
  readonly next?: Layer;
}

/** A put makes at most this many tries for room; then it is refused (Xen: 10; here pages vary). */
const TRIES_PER_PUT_MAX = 128;

export class Zcache extends LayerFrame {
  readonly name = 'zcache';

  readonly #encoder: PageEncoder;
  readonly #index: PageIndex;
  readonly #pages: PageTable;
  readonly #slabs: Slabs;

  constructor(options: ZcacheOptions) {
    const { limitBytes, pageBytesMax, next } = options;
    super({
      ...options,
      next,
      ...pageCountsFor(limitBytes),
      slabBytes: slabBytesFor(limitBytes, pageBytesMax),
      arePersistentQueued: false,
      triesPerPutMax: TRIES_PER_PUT_MAX,
    });
    this.#encoder = new PageEncoder(options.codec, pageBytesMax);
    this.#index = this.held.index;
    this.#pages = this.held.pages;
    this.#slabs = this.held.slabs;
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
    if (slot === NO_SLOT) {
      this.statistics.misses++;
      return this.next === undefined
        ? MISS
        : this.next.get(pool, object, index, dst, dstOffset, isUse);
    }
    const { pageBytes, tenant } = this.held.poolOf(pool)!;
    const outcome = this.copyOut(slot, pageBytes, dst, dstOffset);
    if (outcome === MISS) {
      this.statistics.corrupt++;
      this.statistics.misses++;
      this.held.drop(slot);
      return MISS;
    }
    const isQueued = this.#pages.encodingOf(slot) !== FILLED && !this.#pages.isPersistent(slot);
    if (isUse && isQueued) tenant.policy.touch(slot);
    this.statistics.hits++;
    return outcome;
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
    const hadOlder = this.held.dropNamed(pool, object, index);
    return this.putNew(hadOlder, pool, object, index, encoding, src, srcOffset, length);
  }

  /** Stores a page in the shortest way there is; one that comes encoded as it comes. */
  protected store(
    pool: HeldPool,
    object: number,
    index: number,
    encoding: Encoding,
    src: Buffer,
    srcOffset: number,
    length: number,
  ): PutOutcome {
    if (encoding !== RAW) {
      return this.held.insert(pool, object, index, encoding, src, srcOffset, length);
    }
    const shortest = this.#encode(src, srcOffset, pool.pageBytes);
    const { encoded, length: encodedBytes } = this.#encoder;
    return this.held.insert(pool, object, index, shortest, encoded, 0, encodedBytes);
  }

  protected copyOut(slot: number, pageBytes: number, dst: Buffer, dstOffset: number): GetOutcome {
    const location = this.#pages.locationOf(slot);
    const encoding = this.#pages.encodingOf(slot);
    if (encoding === FILLED) {
      this.#encoder.fill(location, pageBytes, dst, dstOffset);
      return location === 0 ? HIT_ZERO : HIT;
    }
    if (encoding === RAW) {
      this.#slabs.copyOut(location, pageBytes, dst, dstOffset);
      return HIT;
    }
    const start = this.#slabs.offsetAt(location);
    const end = start + this.#pages.lengthOf(slot);
    const block = this.#slabs.bufferAt(location);
    return this.#encoder.decode(block, start, end, pageBytes, dst, dstOffset) ? HIT : MISS;
  }

  #encode(src: Buffer, srcOffset: number, pageBytes: number): Encoding {
    const encoding = this.#encoder.encode(src, srcOffset, pageBytes);
    if (encoding !== FILLED) {
      this.statistics.originalBytes += pageBytes;
      this.statistics.compressedBytes += this.#encoder.length;
    }
    return encoding;
  }
}

/** How many pages a limit has tables for, and how many of them may be same-filled ones that leave. */
export function pageCountsFor(limitBytes: number): { slotCount: number; filledCountMax: number } {
  const filledCount = Math.floor((limitBytes * FILLED_SHARE) / PAGE_METADATA_BYTES);
  const filledCountMax = Math.max(16, Math.min(filledCount, SLOT_COUNT_MAX / 4));
  const slotCount = Math.ceil(limitBytes / 512) + filledCountMax + 64;
  return { slotCount: Math.min(slotCount, SLOT_COUNT_MAX), filledCountMax };
}

/**
 * Larger slabs waste less behind their last object, smaller ones less in half-empty classes. Four
 * of the largest pages should fit one, unless the limit is so small that few such slabs would.
 */
function slabBytesFor(limitBytes: number, pageBytesMax: number): number {
  const least = Math.min(pageBytesMax * 4, limitBytes / 1024);
  return slabBytesNear(limitBytes, Math.max(limitBytes / 4096, least), pageBytesMax);
}
