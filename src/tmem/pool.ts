/**
 * A pool as its client sees it: put, get, flush, destroy. Everything that a client names is checked
 * here, at one place, and nowhere below.
 */

import { TmemError } from '../lib/errors.ts';
import { type Account, PoolUsage } from './account.ts';
import { checkEncoded, noBuffer } from './encoded-page.ts';
import {
  type EncodedPage,
  type GetOutcome,
  type Layer,
  MISS,
  type PoolDescription,
  type PutOutcome,
  RAW,
} from './layer.ts';
import type { SharedPool } from './shared-pools.ts';

const INDEX_MAX = 0xffffffff;

/** One client's view of a pool. Every call is synchronous and in force when it returns. */
export class Pool {
  readonly pageBytes: number;
  readonly isPersistent: boolean;
  readonly isExclusive: boolean;
  readonly account: Account;
  /** Its part of what the account is charged; that of all sharers for a shared pool. */
  readonly usage: Readonly<PoolUsage>;
  readonly #top: Layer;
  readonly #id: number;
  readonly #shared: SharedPool<Pool> | undefined;
  readonly #left: () => void;
  #isDestroyed = false;

  /** Made by `Tmem.createPool` only. */
  constructor(
    top: Layer,
    description: PoolDescription,
    isExclusive: boolean,
    shared: SharedPool<Pool> | undefined,
    left: () => void,
  ) {
    this.#top = top;
    this.#id = description.id;
    this.pageBytes = description.pageBytes;
    this.isPersistent = description.isPersistent;
    this.isExclusive = isExclusive;
    this.account = description.account;
    this.usage = description.usage ?? new PoolUsage();
    this.#shared = shared;
    this.#left = left;
    shared?.sharers.add(this);
  }

  /** The number that names this pool in every layer. */
  get id(): number {
    return this.#id;
  }

  get isShared(): boolean {
    return this.#shared !== undefined;
  }

  /**
   * Stores the page at `src[srcOffset]`, or refuses it; see the outcomes in `layer.ts`. When it is
   * refused, no older version of the page is held any more.
   */
  put(object: number, index: number, src: Buffer, srcOffset = 0): PutOutcome {
    this.#check(object, index, src, srcOffset);
    if (this.#shared !== undefined) this.#touch(this.#shared, object);
    return this.#top.put(this.#id, object, index, RAW, src, srcOffset, this.pageBytes);
  }

  /** Whether a put of the page takes no memory, since it would lie where the page lies now. */
  overwrites(object: number, index: number, src: Buffer, srcOffset: number): boolean {
    this.#check(object, index, src, srcOffset);
    return this.#top.overwrites(this.#id, object, index, src, srcOffset);
  }

  /**
   * As `put`, of a page that is encoded already, as `peek` points at it. That it decodes to a page
   * is the caller's word; one that does not is found out by the get that wants it.
   */
  putEncoded(object: number, index: number, page: EncodedPage): PutOutcome {
    this.#checkName(object, index);
    checkEncoded(page, this.pageBytes);
    if (this.#shared !== undefined) this.#touch(this.#shared, object);
    const { encoding, buffer, offset, length } = page;
    return this.#top.put(this.#id, object, index, encoding, buffer, offset, length);
  }

  /** Copies the page to `dst[dstOffset]` at a hit; at a miss `dst` is untouched. */
  get(object: number, index: number, dst: Buffer, dstOffset = 0, isUse = true): GetOutcome {
    this.#check(object, index, dst, dstOffset);
    const outcome = this.#top.get(this.#id, object, index, dst, dstOffset, isUse);
    if (outcome === MISS) return MISS;
    if (this.isExclusive) this.#top.flushPage(this.#id, object, index);
    if (this.#shared !== undefined) this.#touch(this.#shared, object);
    return outcome;
  }

  /** Whether a get would hit now. */
  has(object: number, index: number): boolean {
    this.#checkName(object, index);
    return this.#top.has(this.#id, object, index);
  }

  /**
   * Moves the page to `other`, a private pool of the same stack and page size, under the same
   * name, without copying it. An older page of that name in `other` is dropped. False when it is
   * not held, or there is no room for the new name; then it is still here, if it was.
   */
  transferTo(other: Pool, object: number, index: number): boolean {
    this.#checkName(object, index);
    other.#checkName(object, index);
    if (other.#top !== this.#top || other.pageBytes !== this.pageBytes || other.#id === this.#id) {
      throw new TmemError(
        'usage',
        'a page moves only to another pool of the same stack and page size; put it there instead',
      );
    }
    if (this.isShared || other.isShared) {
      throw new TmemError('usage', 'pages of a shared pool stay in it; put them elsewhere instead');
    }
    return this.#top.transfer(this.#id, other.#id, object, index);
  }

  /** As `get`, but it is no use of the page: nothing is counted or moves, not even out of the pool. */
  copy(object: number, index: number, dst: Buffer, dstOffset = 0): GetOutcome {
    this.#check(object, index, dst, dstOffset);
    return this.#top.copy(this.#id, object, index, dst, dstOffset);
  }

  /**
   * Points `page` at the encoded bytes of the page, where they lie; false when it is not held. It
   * is no use of the page. The bytes may only be read, and only until the next call to the stack.
   */
  peek(object: number, index: number, page: EncodedPage): boolean {
    this.#checkName(object, index);
    return this.#top.peek(this.#id, object, index, page);
  }

  /** Objects that have pages; one whose pages change layers while this goes on may be left out. */
  objects(): Iterable<number> {
    this.#checkName(0, 0);
    return this.#top.objectsOf(this.#id);
  }

  /** Indexes of the object's pages, as of now, in no order. */
  indexesOf(object: number): Uint32Array {
    this.#checkName(object, 0);
    return this.#top.indexesOf(this.#id, object);
  }

  /** Drops the page; answers whether it was there. */
  flushPage(object: number, index: number): boolean {
    this.#checkName(object, index);
    return this.#top.flushPage(this.#id, object, index);
  }

  /** Drops the object's pages; answers how many there were. */
  flushObject(object: number): number {
    this.#checkName(object, 0);
    this.#shared?.lastTouchers.delete(object);
    return this.#top.flushObject(this.#id, object);
  }

  /**
   * Ends this view of the pool; answers how many pages went. A private pool's pages all go; a
   * shared pool's only where this sharer touched the object last, and all with the last sharer.
   */
  destroy(): number {
    if (this.#isDestroyed) return 0;
    this.#isDestroyed = true;
    const flushed = this.#shared === undefined ? this.#destroyAll() : this.#leave(this.#shared);
    this.#left();
    return flushed;
  }

  #destroyAll(): number {
    return this.#top.destroyPool(this.#id);
  }

  #leave(shared: SharedPool<Pool>): number {
    shared.sharers.delete(this);
    if (shared.sharers.size === 0) return this.#destroyAll();
    let flushed = 0;
    for (const object of shared.forget(this)) flushed += this.#top.flushObject(this.#id, object);
    return flushed;
  }

  #touch(shared: SharedPool<Pool>, object: number): void {
    const oldest = shared.touch(object, this);
    if (oldest !== undefined) this.#top.flushObject(this.#id, oldest);
  }

  #check(object: number, index: number, buffer: Buffer, offset: number): void {
    this.#checkName(object, index);
    if (!Buffer.isBuffer(buffer)) throw noBuffer();
    if (
      !(Number.isSafeInteger(offset) && offset >= 0 && offset + this.pageBytes <= buffer.length)
    ) {
      throw new TmemError(
        'usage',
        `a page of ${this.pageBytes} bytes at offset ${offset} does not lie inside a buffer of ` +
          `${buffer.length} bytes`,
      );
    }
  }

  #checkName(object: number, index: number): void {
    if (this.#isDestroyed) throw new TmemError('usage', 'the pool has been destroyed');
    if (!(Number.isSafeInteger(object) && object >= 0)) {
      throw new TmemError('usage', `object ${object} is not an integer from 0 to 2^53 - 1`);
    }
    if (!(Number.isInteger(index) && index >= 0 && index <= INDEX_MAX)) {
      throw new TmemError('usage', `index ${index} is not an integer from 0 to 2^32 - 1`);
    }
  }
}
