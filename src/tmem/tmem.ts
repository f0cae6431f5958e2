/**
 * Transcendent memory: pools of pages over a stack of layers. This is the library's face: everything
 * a client names is validated here, at one place, and nowhere below.
 *
 * Source: the tmem operations of Xen (public/tmem.h) and Linux: new pool, put, get, flush page,
 * flush object, destroy pool; shared ephemeral pools by UUID and explicit authorisation.
 */

import { TmemError } from '../lib/errors.ts';
import { Account, type AccountOptions, PoolUsage } from './account.ts';
import { checkEncoded, noBuffer } from './encoded-page.ts';
import {
  type EncodedPage,
  type GetOutcome,
  type Layer,
  type LayerUsage,
  MISS,
  PAGE_BYTES_MAX,
  PAGE_BYTES_MIN,
  type PoolDescription,
  type PutOutcome,
  RAW,
} from './layer.ts';
import { type SharedPool, SharedPools } from './shared-pools.ts';

/** Pools that one stack may hold at a time. */
export const POOL_COUNT_MAX = 4096;
const INDEX_MAX = 0xffffffff;

/** What a pool is asked to be. */
export interface PoolOptions {
  /** May its pages vanish (`ephemeral`), or do they stay until flushed (`persistent`)? */
  readonly kind: 'ephemeral' | 'persistent';
  /** Bytes of every page of the pool: a power of two, 4096 to 65536. Default 4096. */
  readonly pageBytes?: number;
  /** A get that hits takes the page out. Default false. */
  readonly isExclusive?: boolean;
  /**
   * Names a shared pool; every client that is authorised for the name and asks for it gets the
   * same pages. Only for ephemeral pools. Without it the pool is private.
   */
  readonly sharedName?: string;
  /** Who asks. Default the empty name. */
  readonly client?: string;
  /**
   * Who is charged for the pages. Default an account of its own, with the default share. For a
   * shared pool the account of whoever came first.
   */
  readonly account?: Account;
}

/** The layers of a stack and the pools on it. */
export class Tmem {
  /** From the top down. */
  readonly layers: readonly Layer[];
  readonly #top: Layer;
  /** What part of the limit each layer was made with. */
  readonly #shares: readonly number[];
  readonly #pools = new Set<Pool>();
  readonly #shared = new SharedPools<Pool>();
  #nextPoolId = 1;

  /** A stack over `layers`, the top one first; each must have the following one as its next. */
  constructor(layers: readonly Layer[]) {
    const top = layers[0];
    if (top === undefined) throw new TmemError('usage', 'a stack needs at least one layer');
    this.layers = layers;
    this.#top = top;
    const limits = layers.map((layer) => layer.usage().limitBytes);
    const total = Math.max(1, this.limitBytes);
    this.#shares = limits.map((bytes) => bytes / total);
  }

  /** Pools there are. */
  get pools(): ReadonlySet<Pool> {
    return this.#pools;
  }

  /** Accounts that have pools, each once. */
  get accounts(): ReadonlySet<Account> {
    return new Set([...this.#pools].map((pool) => pool.account));
  }

  /** An account, to make pools with. It is listed, and counts, while it has any. */
  createAccount(options: AccountOptions): Account {
    return new Account(options);
  }

  /** Lets `client` share the pool of that name; nothing is shared without this. */
  authorise(client: string, sharedName: string): void {
    this.#shared.authorise(client, sharedName);
  }

  /** Takes that back; pools that the client has of it stay until they are destroyed. */
  revoke(client: string, sharedName: string): void {
    this.#shared.revoke(client, sharedName);
  }

  /**
   * Makes a pool. A shared pool for which the client is not authorised is made private instead, as
   * Xen does; `isShared` of the pool tells. Throws `usage` for options that go against the rules,
   * `no-space` when there are POOL_COUNT_MAX pools.
   */
  createPool(options: PoolOptions): Pool {
    checkKind(options.kind);
    const pageBytes = options.pageBytes ?? PAGE_BYTES_MIN;
    checkPageBytes(pageBytes);
    if (this.#pools.size >= POOL_COUNT_MAX) {
      throw new TmemError(
        'no-space',
        `there are ${POOL_COUNT_MAX} pools, and no more can be; destroy one first`,
      );
    }
    const shared = this.#shared.join(options, pageBytes, () => this.#describe(options, pageBytes));
    const description = shared?.description ?? this.#describe(options, pageBytes);
    const pool = new Pool(this.#top, description, options.isExclusive ?? false, shared, () => {
      this.#pools.delete(pool);
      if (shared?.sharers.size === 0) this.#shared.forget(shared);
    });
    this.#pools.add(pool);
    return pool;
  }

  /** Refuses puts of new pages in every layer; gets and flushes go on. */
  freeze(): void {
    for (const layer of this.layers) layer.isFrozen = true;
  }

  thaw(): void {
    for (const layer of this.layers) layer.isFrozen = false;
  }

  /** Data and metadata of all layers, bytes. */
  get usedBytes(): number {
    return this.#sum((usage) => usage.dataBytes + usage.metadataBytes);
  }

  /** The most they may come to, bytes. */
  get limitBytes(): number {
    return this.#sum((usage) => usage.limitBytes);
  }

  /** What shrinking could give back at most, bytes: slabs, less what persistent pages take. */
  get freeableBytes(): number {
    return this.#sum((usage) => usage.freeableBytes);
  }

  /**
   * Changes the limit of all layers together; they divide it as they divided the first. Evicts
   * nothing: puts do, a few pages each, or else `shrink`. The layers have tables for their first
   * limit and may not fill a higher one. Throws `usage` for what is no number of bytes.
   */
  setLimit(bytes: number): void {
    if (!(bytes >= 0 && bytes < Number.POSITIVE_INFINITY)) {
      throw new TmemError('usage', `a limit is a number of bytes from 0 on, not ${bytes}`);
    }
    let left = Math.floor(bytes);
    for (const [at, layer] of this.layers.entries()) {
      const isLast = at === this.layers.length - 1;
      const part = isLast ? left : Math.min(left, Math.floor(bytes * (this.#shares[at] ?? 0)));
      layer.setLimit(part);
      left -= part;
    }
  }

  /**
   * Gives about `bytes` of memory back if ephemeral pages allow it; answers how much it was. What
   * one call does is bounded by `bytes`: it may give less, or nothing at first. 256 KiB at a time
   * keep it short.
   */
  shrink(bytes: number): number {
    if (!(bytes >= 0)) throw new TmemError('usage', `cannot shrink by ${bytes} bytes`);
    const before = this.usedBytes;
    this.#top.shrink(bytes);
    return Math.max(0, before - this.usedBytes);
  }

  #sum(measure: (usage: LayerUsage) => number): number {
    let sum = 0;
    for (const layer of this.layers) sum += measure(layer.usage());
    return sum;
  }

  #describe(options: PoolOptions, pageBytes: number): PoolDescription {
    const id = this.#nextPoolId++;
    const account = options.account ?? new Account({ name: `pool ${id}` });
    const isPersistent = options.kind === 'persistent';
    const description = { id, isPersistent, pageBytes, account, usage: new PoolUsage() };
    this.#top.createPool(description);
    return description;
  }
}

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
  get(object: number, index: number, dst: Buffer, dstOffset = 0): GetOutcome {
    this.#check(object, index, dst, dstOffset);
    const outcome = this.#top.get(this.#id, object, index, dst, dstOffset);
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

function checkKind(kind: string): void {
  if (kind === 'ephemeral' || kind === 'persistent') return;
  throw new TmemError('usage', `a pool is ephemeral or persistent, not ${JSON.stringify(kind)}`);
}

/** Throws `usage` unless pages may have that many bytes. */
export function checkPageBytes(bytes: number): void {
  const isPowerOfTwo = Number.isInteger(bytes) && bytes > 0 && (bytes & (bytes - 1)) === 0;
  if (isPowerOfTwo && bytes >= PAGE_BYTES_MIN && bytes <= PAGE_BYTES_MAX) return;
  throw new TmemError(
    'usage',
    `a page has ${PAGE_BYTES_MIN} to ${PAGE_BYTES_MAX} bytes, a power of two; not ${bytes}`,
  );
}
