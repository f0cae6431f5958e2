/**
 * Transcendent memory: pools of pages over a stack of layers. This and `pool.ts` are the library's face.
 *
 * Source: the tmem operations of Xen (public/tmem.h) and Linux: new pool, put, get, flush page,
 * flush object, destroy pool; shared ephemeral pools by UUID and explicit authorisation.
 */

import { TmemError } from '../lib/errors.ts';
import { isPageBytes, PAGE_BYTES_MAX, PAGE_BYTES_MIN } from '../lib/page-bytes.ts';
import { Account, type AccountOptions, PoolUsage } from './account.ts';
import type { Layer, LayerUsage, PoolDescription } from './layer.ts';
import { Pool } from './pool.ts';
import { SharedPools } from './shared-pools.ts';

/** Pools that one stack may hold at a time. */
export const POOL_COUNT_MAX = 4096;

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
  /** Only a limit that was lowered can be exceeded; so mostly nobody need add up. */
  #mayBeOverfull = false;

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
    checkKind(options?.kind);
    checkAccount(options.account);
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

  /** Whether the layer that is asked first takes no new pages. */
  get isFrozen(): boolean {
    return this.#top.isFrozen;
  }

  /** Does something as if nothing were frozen. */
  whileThawed<Result>(act: () => Result): Result {
    const frozen = this.layers.filter(({ isFrozen }) => isFrozen);
    for (const layer of frozen) layer.isFrozen = false;
    try {
      return act();
    } finally {
      for (const layer of frozen) layer.isFrozen = true;
    }
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

  /** Whether more is held than the limit: that was lowered, and not all has gone yet, or can go. */
  get isOverfull(): boolean {
    if (this.#mayBeOverfull) this.#mayBeOverfull = this.usedBytes > this.limitBytes;
    return this.#mayBeOverfull;
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
    this.#mayBeOverfull = true;
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

  /**
   * Has accounts that are above their caps, since those were lowered, give up at most so many pages;
   * answers how many left. Some dozen at a time keep it short. Persistent pages stay.
   */
  trimToCaps(pagesMax: number): number {
    return this.#top.trimToCaps(pagesMax);
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

function checkKind(kind: string | undefined): void {
  if (kind === 'ephemeral' || kind === 'persistent') return;
  throw new TmemError('usage', `a pool is ephemeral or persistent, not ${JSON.stringify(kind)}`);
}

/** A look-alike would count nothing, and the first page charged to it would break the stack. */
function checkAccount(account: Account | undefined): void {
  if (account === undefined || account instanceof Account) return;
  throw new TmemError('usage', 'an account is what createAccount answers; leave it out for one');
}

/** Throws `usage` unless pages may have that many bytes. */
export function checkPageBytes(bytes: number): void {
  if (isPageBytes(bytes)) return;
  throw new TmemError(
    'usage',
    `a page has ${PAGE_BYTES_MIN} to ${PAGE_BYTES_MAX} bytes, a power of two; not ${bytes}`,
  );
}
