/**
 * The pools of other programs: who made which, and who may touch it. A pool is reached by its number
 * and its key, 128 random bits that only its maker was told; a shared pool has a key for each client
 * that joined it, and to join takes the key of a grant. What has no key cannot be used at all, so
 * that no check can be forgotten.
 */

import { randomBytes } from 'node:crypto';
import type { Account } from '../../tmem/account.ts';
import { type PutOutcome, REFUSED_LIMIT } from '../../tmem/layer.ts';
import type { Pool } from '../../tmem/pool.ts';
import { checkPageBytes, type PoolOptions, type Tmem } from '../../tmem/tmem.ts';
import { isSameSecret } from '../http/authorisation.ts';
import { GRANT_KEY_HEADER, POOL_KEY_HEADER } from '../http/parameters.ts';
import { Problem } from '../http/problem.ts';
import { dropPages } from './drop-pages.ts';

/** Bounds on what programs can have. */
const POOLS_PER_CLIENT_MAX = 16;
const POOL_COUNT_MAX = 256;
const GRANT_COUNT_MAX = 1024;
const KEY_BYTES = 16;
/** The share of the layers that pages which may not vanish can take, of all clients together. */
const PERSISTENT_SHARE = 1 / 2;

/** A pool as its client has it. */
export interface ClientPool {
  readonly pool: Pool;
  readonly client: string;
  readonly sharedName: string | undefined;
  /** False from its end on; who holds it across turns of the event loop asks. */
  readonly isOpen: boolean;
}

/** What a program asks for. */
export interface ClientPoolRequest {
  readonly kind: 'ephemeral' | 'persistent';
  readonly pageBytes: number;
  readonly isExclusive: boolean;
  readonly client: string;
  readonly sharedName?: string | undefined;
}

interface Entry extends ClientPool {
  isOpen: boolean;
  readonly key: string;
}

interface Grant {
  readonly client: string;
  readonly sharedName: string;
  readonly key: string;
}

export class ClientPools {
  readonly #tmem: Tmem;
  readonly #pageBytesMax: number;
  readonly #accountEnded: () => void;
  readonly #entries = new Map<Pool, Entry>();
  /** By owner, while it has pools: those of one client have one share of the memory between them. */
  readonly #accounts = new Map<string, Account>();
  readonly #grants = new Map<string, Grant>();

  /**
   * Pools on `tmem`, of pages that its layers can hold: at most `pageBytesMax`. `accountEnded` is
   * called when an account has gone with its last pool.
   */
  constructor(tmem: Tmem, pageBytesMax: number, accountEnded: () => void = () => undefined) {
    this.#tmem = tmem;
    this.#pageBytesMax = pageBytesMax;
    this.#accountEnded = accountEnded;
  }

  /** Makes a pool and its key. Throws a Problem or a TmemError when it may not be. */
  create(request: ClientPoolRequest, grantKey: string | undefined) {
    const { client, sharedName, pageBytes, kind, isExclusive } = request;
    checkPageBytes(pageBytes);
    if (pageBytes > this.#pageBytesMax) {
      const most = this.#pageBytesMax;
      throw new Problem(400, `this service holds pages of at most ${most} bytes; ask for those`);
    }
    if (sharedName !== undefined) this.#checkGrant(client, sharedName, grantKey);
    this.#checkCounts(client);
    const owner = sharedName === undefined ? `client:${client}` : `shared:${sharedName}`;
    const account = this.#accounts.get(owner) ?? this.#tmem.createAccount({ name: owner });
    const options: PoolOptions = { kind, pageBytes, isExclusive, client, account };
    const pool = this.#tmem.createPool(
      sharedName === undefined ? options : { ...options, sharedName },
    );
    const key = newKey();
    const entry: Entry = { pool, client, sharedName, isOpen: true, key };
    this.#entries.set(pool, entry);
    this.#accounts.set(owner, account);
    return { pool, key };
  }

  /** The pool of that number for whoever has its key. Throws a Problem for anyone else. */
  open(id: number, key: string | undefined): ClientPool {
    if (key === undefined) {
      throw new Problem(401, `the key of the pool is required; send it as ${POOL_KEY_HEADER}`, {
        headers: { 'www-authenticate': 'TmemPoolKey realm="tmem"' },
      });
    }
    let found: Entry | undefined;
    let isKnown = false;
    for (const entry of this.#entries.values()) {
      if (entry.pool.id !== id || !entry.isOpen) continue;
      isKnown = true;
      if (isSameSecret(entry.key, key)) found = entry;
    }
    if (found !== undefined) return found;
    if (!isKnown) throw unknownPool(id);
    throw new Problem(403, `the key is not the one of pool ${id}; send the one it was made with`);
  }

  /**
   * Offers a page, as `Pool.put` does. Pages that may not vanish are refused when those of all
   * clients have their share of the memory: the disks that are served need the rest.
   */
  put({ pool }: ClientPool, object: number, index: number, src: Buffer, offset = 0): PutOutcome {
    if (!pool.isPersistent || this.#hasRoomFor(pool)) return pool.put(object, index, src, offset);
    pool.flushPage(object, index);
    return REFUSED_LIMIT;
  }

  /** The clients' views of the pool of that number; none for a pool that is not theirs. */
  viewsOf(id: number): readonly ClientPool[] {
    return [...this.#entries.values()].filter(({ pool, isOpen }) => pool.id === id && isOpen);
  }

  /** Who a pool belongs to, if it is one of these. */
  ownerOf(pool: Pool): string | undefined {
    return this.#entries.has(pool) ? pool.account.name : undefined;
  }

  /**
   * Ends a pool, or a client's view of a shared one, at once; resolves when its pages are gone, with
   * how many there were. Until then it counts against all bounds.
   */
  async destroy(view: ClientPool): Promise<number> {
    const entry = this.#entries.get(view.pool);
    if (entry === undefined || !entry.isOpen) return 0;
    entry.isOpen = false;
    let flushedPages = this.#isShared(entry) ? 0 : await dropPages(entry.pool);
    flushedPages += entry.pool.destroy();
    this.#entries.delete(entry.pool);
    this.#forgetAccount(entry.pool.account);
    return flushedPages;
  }

  /** Lets a client join a shared pool; answers the key that it needs for that. */
  grant(client: string, sharedName: string): string {
    const name = grantName(client, sharedName);
    const there = this.#grants.get(name);
    if (there !== undefined) return there.key;
    if (this.#grants.size >= GRANT_COUNT_MAX) {
      throw new Problem(507, `there are ${GRANT_COUNT_MAX} grants; revoke one first`);
    }
    const key = newKey();
    this.#tmem.authorise(client, sharedName);
    this.#grants.set(name, { client, sharedName, key });
    return key;
  }

  /** Takes a grant back and ends the views it gave; answers how many. Rejects with a Problem for none. */
  async revoke(client: string, sharedName: string): Promise<number> {
    if (!this.#grants.delete(grantName(client, sharedName))) {
      throw new Problem(404, `${client} was not granted ${sharedName}; there is nothing to revoke`);
    }
    this.#tmem.revoke(client, sharedName);
    const views = [...this.#entries.values()].filter((entry) => {
      return entry.client === client && entry.sharedName === sharedName && entry.isOpen;
    });
    await Promise.all(views.map((view) => this.destroy(view)));
    return views.length;
  }

  /** Whether others have its pages too. */
  #isShared(entry: Entry): boolean {
    for (const other of this.#entries.values()) {
      if (other !== entry && other.pool.id === entry.pool.id) return true;
    }
    return false;
  }

  #hasRoomFor({ pageBytes }: Pool): boolean {
    let limitBytes = 0;
    for (const layer of this.#tmem.layers) limitBytes += layer.usage().limitBytes;
    let usedBytes = pageBytes;
    for (const { isPersistent, usage } of this.#entries.keys())
      if (isPersistent) usedBytes += usage.usedBytes;
    return usedBytes <= limitBytes * PERSISTENT_SHARE;
  }

  #forgetAccount(account: Account): void {
    for (const pool of this.#entries.keys()) if (pool.account === account) return;
    this.#accounts.delete(account.name);
    this.#accountEnded();
  }

  #checkGrant(client: string, sharedName: string, key: string | undefined): void {
    const grant = this.#grants.get(grantName(client, sharedName));
    if (grant !== undefined && key !== undefined && isSameSecret(grant.key, key)) return;
    throw new Problem(
      403,
      `${client} may not share ${sharedName}: have it granted with PUT ` +
        `/v1/grants/${client}/${sharedName}, and send the grant's key as ${GRANT_KEY_HEADER}`,
    );
  }

  #checkCounts(client: string): void {
    if (this.#entries.size >= POOL_COUNT_MAX) {
      throw new Problem(507, `there are ${POOL_COUNT_MAX} pools of clients; delete one first`);
    }
    let count = 0;
    for (const entry of this.#entries.values()) if (entry.client === client) count++;
    if (count >= POOLS_PER_CLIENT_MAX) {
      throw new Problem(507, `${client} has ${POOLS_PER_CLIENT_MAX} pools; delete one first`);
    }
  }
}

/** What is said of a pool that is not there. */
export function unknownPool(id: number): Problem {
  return new Problem(404, `there is no pool ${id} of a client; make one with POST /v1/pools`);
}

function grantName(client: string, sharedName: string): string {
  return JSON.stringify([client, sharedName]);
}

function newKey(): string {
  return randomBytes(KEY_BYTES).toString('hex');
}
