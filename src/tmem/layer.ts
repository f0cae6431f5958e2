/**
 * The contract of a layer: the one interface of everything that holds pages, from the hot layer
 * at the top to the last one before the block device. Layers stack: each may have a `next`, and a
 * page that a layer does not hold, or does not take, is its `next`'s business.
 *
 * Seven rules hold in every layer, at every failure. The first three are visible here:
 *
 * 1. put-put-get: a get answers the newer page or a miss, never the older page, also when the
 *    second put was refused. A refused put of a page that exists drops the old one, here and in
 *    every layer below.
 * 2. get-get: after a miss only a put makes a hit. put-flush-get: after a flush, a miss.
 * 3. An ephemeral page may vanish at any time. A persistent page, once stored, stays until it is
 *    flushed.
 *
 * A page is named by three numbers: pool, object and index. Nothing here makes a Promise, a closure
 * or an object for a page; an operational failure is an outcome, and only a broken invariant throws.
 *
 * Source: the Xen and Linux tmem interfaces (put, get, flush page, flush object, destroy pool).
 */

import type { Account, PoolUsage } from './account.ts';

/** No layer holds the page; the destination is untouched. */
export const MISS = 0;
/** The page was copied to the destination. */
export const HIT = 1;
/** The page was copied to the destination, and it is known to be all zeros. */
export const HIT_ZERO = 2;
/** What a get answers. Anything but MISS is a hit. */
export type GetOutcome = typeof MISS | typeof HIT | typeof HIT_ZERO;

/** A page that was not there is now held. */
export const STORED = 0;
/** A page that was there is now held in its new version. */
export const REPLACED = 1;
/** Frozen: the layer takes no new pages for now. */
export const REFUSED_FROZEN = 2;
/** No memory for the bytes, and nothing that may be evicted for them. */
export const REFUSED_LIMIT = 3;
/** No memory for the metadata of one more page. */
export const REFUSED_METADATA = 4;
/** An allocation failed, or was made to fail by a test. */
export const REFUSED_ALLOCATION = 5;
/** The page cannot be represented here: unknown pool, or of another page size. */
export const REFUSED_POOL = 6;
/** A page that repeats four bytes: the layer below keeps it as those. */
export const REFUSED_FILLED = 7;
/** What a put answers; from REFUSED_FROZEN on, the page is not held and no older one is. */
export type PutOutcome =
  | typeof STORED
  | typeof REPLACED
  | typeof REFUSED_FROZEN
  | typeof REFUSED_LIMIT
  | typeof REFUSED_METADATA
  | typeof REFUSED_ALLOCATION
  | typeof REFUSED_POOL
  | typeof REFUSED_FILLED;

/** Names of the put outcomes, by number, as metrics and messages show them. */
export const PUT_OUTCOME_NAMES = [
  'stored',
  'replaced',
  'frozen',
  'limit',
  'metadata',
  'allocation',
  'pool',
  'filled',
] as const;

/** Whether a put was refused. */
export function isRefused(outcome: PutOutcome): boolean {
  return outcome >= REFUSED_FROZEN;
}

/** The bytes of the page as they are. */
export const RAW = 1;
/** One LZ4 block that decodes to exactly one page. */
export const LZ4 = 2;
/** Four bytes that the whole page repeats. */
export const FILLED = 3;
/** How a page travels from layer to layer: encoded once, never twice. */
export type Encoding = typeof RAW | typeof LZ4 | typeof FILLED;

/** Where an encoded page lies. Made once by a caller, who hands it to `peek` again and again. */
export interface EncodedPage {
  encoding: Encoding;
  /** Belongs to the layer: it is read only, and at once. */
  buffer: Buffer;
  offset: number;
  /** A whole page for RAW, one block for LZ4, four bytes for FILLED. */
  length: number;
}

/** An EncodedPage that points at nothing yet. */
export function createEncodedPage(): EncodedPage {
  return { encoding: RAW, buffer: Buffer.alloc(0), offset: 0, length: 0 };
}

/** What a layer must know of a pool. */
export interface PoolDescription {
  /** Names one content for ever: never reused while the process lives. */
  readonly id: number;
  readonly isPersistent: boolean;
  /** As `isPageBytes` has it. */
  readonly pageBytes: number;
  /** Who is charged for its pages. */
  readonly account: Account;
  /** Where its part of that is counted, if anywhere. */
  readonly usage?: PoolUsage;
}

/** Counters of a layer. Plain fields: counting must cost nothing on the hot path. */
export interface LayerStatistics {
  hits: number;
  misses: number;
  /** By put outcome; see PUT_OUTCOME_NAMES. */
  readonly puts: Float64Array;
  /** Pages that left for room (`capacity`), for `shrink`, or to a cap of their kind (`filled`). */
  evictedForCapacity: number;
  /** Of those that left for room the ones whose own account was at its cap: others had room. */
  evictedAtCap: number;
  evictedForShrink: number;
  evictedForFilledCap: number;
  /** Evicted pages that the next layer took. */
  pushedDown: number;
  /** Pages copied up from the next layer because they are wanted. */
  promoted: number;
  /** Pages flushed by name, by object or with their pool. */
  flushed: number;
  /** Stored pages whose bytes did not decode; each was dropped and answered as a miss. */
  corrupt: number;
  /** Bytes of the pages that were encoded, before and after; same-filled pages are not counted. */
  originalBytes: number;
  compressedBytes: number;
}

/** Statistics at zero. */
export function createLayerStatistics(): LayerStatistics {
  return {
    hits: 0,
    misses: 0,
    puts: new Float64Array(PUT_OUTCOME_NAMES.length),
    evictedForCapacity: 0,
    evictedAtCap: 0,
    evictedForShrink: 0,
    evictedForFilledCap: 0,
    pushedDown: 0,
    promoted: 0,
    flushed: 0,
    corrupt: 0,
    originalBytes: 0,
    compressedBytes: 0,
  };
}

/** Pages that left the whole stack for want of memory: those of its last layer, and not to a cap. */
export function evictedForMemory(layers: readonly Layer[]): number {
  const last = layers.at(-1)?.statistics;
  return last === undefined ? 0 : last.evictedForCapacity - last.evictedAtCap;
}

/** What a layer holds at this moment. */
export interface LayerUsage {
  /** Pages by how they are held. */
  readonly rawPages: number;
  readonly compressedPages: number;
  readonly filledPages: number;
  /** Same-filled pages beyond which ephemeral ones push each other out; 0 where none are kept. */
  readonly filledPagesMax: number;
  /** Bytes of slabs held, including what is free inside them. */
  readonly dataBytes: number;
  /** Bytes of the encoded pages themselves. */
  readonly storedBytes: number;
  /** Bytes of index, queues and tables in use. */
  readonly metadataBytes: number;
  /** Bytes of pages that may not vanish, with the metadata that they are charged for. */
  readonly persistentBytes: number;
  /** What shrinking could give back at most: slabs, less what persistent pages take of them. */
  readonly freeableBytes: number;
  /** The most that data and metadata may come to. */
  readonly limitBytes: number;
}

/** A layer of the stack; see the head of this file for the rules. */
export interface Layer {
  readonly name: string;
  readonly statistics: LayerStatistics;
  /** While true, a put of a new page is refused; gets and flushes go on. */
  isFrozen: boolean;

  /** Makes a pool known, here and below. Its id must be new. */
  createPool(pool: PoolDescription): void;

  /**
   * Copies the page to `dst` at `dstOffset`. `dst` belongs to the caller and must have room for a
   * page there; at a miss it is untouched. `isUse` says whether the page deserves to stay for it;
   * by default it does.
   */
  get(
    pool: number,
    object: number,
    index: number,
    dst: Buffer,
    dstOffset: number,
    isUse?: boolean,
  ): GetOutcome;

  /** Whether this layer or one below holds the page. Moves nothing in any queue. */
  has(pool: number, object: number, index: number): boolean;

  /**
   * Takes the page that lies encoded at `src[srcOffset, srcOffset + length)`: a whole page for RAW,
   * one block for LZ4, four bytes for FILLED. Copies before it returns. What this layer refuses
   * goes to `next`; the outcome is that of the layer that took it, or this layer's refusal.
   */
  put(
    pool: number,
    object: number,
    index: number,
    encoding: Encoding,
    src: Buffer,
    srcOffset: number,
    length: number,
  ): PutOutcome;

  /**
   * Whether a put of these bytes, a whole page, would lie where the page lies now: it takes no memory
   * then, and is not refused.
   */
  overwrites(pool: number, object: number, index: number, src: Buffer, srcOffset: number): boolean;

  /**
   * Moves the page from one pool to another of the same page size, as it is, in every layer that
   * holds it: no byte is copied or encoded again. An older page of that name in `toPool` is dropped.
   * False when no layer holds the page, and nothing is changed; or when there is no room for its new
   * name: then it stays where it was, if it can, and `toPool` has no page of that name.
   */
  transfer(fromPool: number, toPool: number, object: number, index: number): boolean;

  /**
   * As `get`, but it is no use of the page: nothing is counted, nothing moves in any queue or from
   * layer to layer. One that does not decode is a MISS and stays, to be found out by a get.
   */
  copy(pool: number, object: number, index: number, dst: Buffer, dstOffset: number): GetOutcome;

  /**
   * Points `page` at the encoded bytes of the page, where they lie here or below; false when no
   * layer holds it. Moves nothing in any queue. They lie there until the next call of any kind.
   */
  peek(pool: number, object: number, index: number, page: EncodedPage): boolean;

  /**
   * Objects of the pool that have pages here or below, each once. Pages may come and go meanwhile:
   * an object that is there all the time is named, unless its pages change layers.
   */
  objectsOf(pool: number): Iterable<number>;

  /** Indexes of the object's pages here and below as of now, each once, in no order. */
  indexesOf(pool: number, object: number): Uint32Array;

  /** Drops the page, here and below. Answers whether it was there. In force on return. */
  flushPage(pool: number, object: number, index: number): boolean;

  /** Drops every page of the object, here and below. Answers how many there were. */
  flushObject(pool: number, object: number): number;

  /** Drops every page of the pool and forgets it, here and below. Answers how many there were. */
  destroyPool(pool: number): number;

  /**
   * Changes the most that data and metadata may come to. Evicts nothing and never throws: above the
   * limit every put makes room by a bounded number of steps, and is refused until it fits. A layer
   * has tables for its first limit; with a higher one it may refuse pages for lack of metadata.
   */
  setLimit(bytes: number): void;

  /**
   * Gives about `bytes` of memory back, here and below, if ephemeral pages allow it, and answers
   * how much it was: less than nothing when there was nothing to give and a policy remembers what
   * left. What it does is bounded by `bytes`, so that it may give less, or nothing at first; memory
   * goes back to the system little by little. Allocates no memory for pages.
   */
  shrink(bytes: number): number;

  /**
   * Has accounts that are above their caps give up pages, of the layers below first, at most so many
   * in all; answers how many left. A persistent page stays, but for where a layer below has it too.
   */
  trimToCaps(pagesMax: number): number;

  usage(): LayerUsage;
}
