/** A stack of layers beside a model of what it may answer: the two are driven together. */

import { expect } from 'vitest';
import type { Account } from '../../src/tmem/account.ts';
import { createEncodedPage, isRefused, MISS, REPLACED, STORED } from '../../src/tmem/layer.ts';
import { NO_LOAN } from '../../src/tmem/lender.ts';
import type { Pool } from '../../src/tmem/pool.ts';
import { type PoolOptions, Tmem } from '../../src/tmem/tmem.ts';
import type { Composition } from '../layers/compositions.ts';
import { pagesIn } from './layer-contract.ts';
import { type PageKind, pageOf, writePage } from './page-content.ts';

/** What was put last under a name. */
interface Content {
  readonly kind: PageKind;
  readonly version: number;
}

interface ModelPool {
  readonly pool: Pool;
  /** By object, then by index: the newest version, if no flush came after it. Sharers share it. */
  readonly objects: Map<number, Map<number, Content>>;
  /** Of a shared pool, by object: who touched it last. */
  readonly touchers: Map<number, Pool>;
}

interface ModelLoan {
  readonly loan: number;
  readonly page: Buffer;
  /** Where the page lay when it was lent: a socket sends it from there. */
  readonly buffer: Buffer;
  readonly offset: number;
}

/** What the memory of pages that left may add to a layer of the size tested here, bytes. */
const GHOSTS_BYTES = 16 * 1024;

/** What a page is read over: a miss leaves it as it is. */
const UNTOUCHED = Buffer.alloc(65_536, 0xa5);

export const SHARED_NAME = 'shared';
export const SHARING_CLIENTS = ['a', 'b', 'c'] as const;

export class Model {
  mayAllocate = true;
  readonly #composition: Composition;
  readonly #tmem: Tmem;
  readonly #pools: ModelPool[] = [];
  readonly #loans: ModelLoan[] = [];
  readonly #counts = { puts: 0, gets: 0, hits: 0, loans: 0 };
  readonly #src = Buffer.alloc(65536);
  readonly #dst = Buffer.alloc(65536 + 8);
  readonly #page = createEncodedPage();
  readonly #accounts: readonly Account[];
  /** Accounts that were given pages from others, or a cap they can not come down to: they may be above it. */
  readonly #given = new Set<Account>();
  /** What each layer held at the last check. */
  readonly #usedBytes: number[];
  #wasLimitLowered = false;
  #version = 0;

  constructor(make: (mayAllocate: () => boolean) => Composition) {
    this.#composition = make(() => this.mayAllocate);
    this.#tmem = new Tmem(this.#composition.layers);
    this.#accounts = [
      this.#tmem.createAccount({ name: 'capped', capBytes: 150_000 }),
      this.#tmem.createAccount({ name: 'kept', minimumBytes: 200_000, weight: 50 }),
    ];
    this.#usedBytes = this.#composition.layers.map(() => 256);
    for (const client of SHARING_CLIENTS) this.#tmem.authorise(client, SHARED_NAME);
  }

  /** With the account of that number, or one of its own if there is none. */
  createPool(options: PoolOptions, accountAt = 0): void {
    const account = this.#accounts[accountAt];
    const pool = this.#tmem.createPool({ ...options, ...(account && { account }) });
    const twin = this.#pools.find((each) => each.pool.id === pool.id);
    expect(pool.isShared || twin === undefined).toBe(true);
    const objects = twin?.objects ?? new Map();
    this.#pools.push({ pool, objects, touchers: twin?.touchers ?? new Map() });
  }

  destroyPool(at: number): void {
    const each = this.#pools[at % this.#pools.length];
    if (each === undefined) return;
    this.#pools.splice(this.#pools.indexOf(each), 1);
    const isLast = !this.#pools.some(({ pool }) => pool.id === each.pool.id);
    let most = 0;
    for (const [object, pages] of each.objects) {
      const isMine = isLast || each.touchers.get(object) === each.pool;
      if (!isMine) continue;
      most += pages.size;
      each.objects.delete(object);
    }
    expect(each.pool.destroy()).toBeLessThanOrEqual(most);
  }

  put(at: number, object: number, index: number, kind: PageKind): void {
    const each = this.#pools[at % this.#pools.length];
    if (each === undefined) return;
    const content = { kind, version: ++this.#version };
    const page = writePage(this.#src.subarray(0, each.pool.pageBytes), kind, content.version);
    const wasHeld = each.pool.has(object, index);
    const heldBytes = this.#heldBytes();
    const isOverwritten = each.pool.overwrites(object, index, page, 0);
    const outcome = each.pool.put(object, index, page);
    if (isOverwritten) {
      expect(outcome).toBe(REPLACED);
      expect(this.#heldBytes()).toBeLessThanOrEqual(heldBytes);
    }
    page.fill(0xdd);
    this.#counts.puts++;
    each.touchers.set(object, each.pool);
    if (isRefused(outcome)) {
      expect(each.pool.has(object, index)).toBe(false);
      each.objects.get(object)?.delete(index);
    } else {
      // Making room may take the older version, in a layer below, before the newer one is in.
      if (outcome !== STORED && !wasHeld) expect.fail('a page was replaced that was not there');
      const pages = each.objects.get(object) ?? new Map<number, Content>();
      each.objects.set(object, pages.set(index, content));
    }
  }

  get(at: number, object: number, index: number): void {
    const each = this.#pools[at % this.#pools.length];
    if (each === undefined) return;
    const { pool } = each;
    const content = each.objects.get(object)?.get(index);
    const isHeld = pool.has(object, index);
    if (pool.isPersistent) expect(isHeld).toBe(content !== undefined);
    const dst = this.#dst.fill(0xa5, 0, pool.pageBytes + 8);
    const copied = pool.copy(object, index, dst, 8); // no use, so that the counts do not know it
    if (copied !== MISS && content !== undefined) {
      this.#expectContent(dst.subarray(8, 8 + pool.pageBytes), content);
      dst.fill(0xa5);
    }
    const outcome = pool.get(object, index, dst, 8);
    expect(copied).toBe(outcome);
    this.#counts.gets++;
    expect(outcome !== MISS).toBe(isHeld);
    const answer = dst.subarray(8, 8 + pool.pageBytes);
    if (!isHeld) {
      if (!answer.equals(UNTOUCHED.subarray(0, answer.length)))
        expect.fail('a miss wrote something');
      each.objects.get(object)?.delete(index); // get-get: only a put may bring it back
      return;
    }
    this.#counts.hits++;
    expect(content).toBeDefined();
    if (content !== undefined) this.#expectContent(answer, content);
    each.touchers.set(object, pool);
    if (!pool.isExclusive) return;
    expect(pool.has(object, index)).toBe(false);
    each.objects.get(object)?.delete(index);
  }

  transfer(at: number, toAt: number, object: number, index: number): void {
    const from = this.#pools[at % this.#pools.length];
    const to = this.#pools[toAt % this.#pools.length];
    if (from === undefined || to === undefined) return;
    if (from.pool.isShared || to.pool.isShared || from === to) return;
    if (from.pool.pageBytes !== to.pool.pageBytes) return;
    const isHeld = from.pool.has(object, index);
    const isMoved = from.pool.transferTo(to.pool, object, index);
    const content = from.objects.get(object)?.get(index);
    if (!isMoved) {
      // Nowhere to go: it is where it was. The older page of that name may have had to leave.
      if (from.pool.isPersistent) expect(from.pool.has(object, index)).toBe(isHeld);
      if (!to.pool.has(object, index)) to.objects.get(object)?.delete(index);
      return;
    }
    expect([isHeld, from.pool.has(object, index)]).toEqual([true, false]);
    expect(to.pool.has(object, index)).toBe(true);
    if (from.pool.account !== to.pool.account) this.#given.add(to.pool.account);
    from.objects.get(object)?.delete(index);
    if (content === undefined) expect.fail('a page was moved that nobody had put');
    const pages = to.objects.get(object) ?? new Map<number, Content>();
    to.objects.set(object, pages.set(index, content));
  }

  /** Names of pages are those of pages that are there, and all of them. */
  list(at: number): void {
    const each = this.#pools[at % this.#pools.length];
    if (each === undefined) return;
    const { pool } = each;
    const seen = new Set<string>();
    let count = 0;
    for (const object of pool.objects()) {
      for (const index of pool.indexesOf(object)) {
        expect(pool.has(object, index)).toBe(true);
        expect(pool.peek(object, index, this.#page)).toBe(true);
        seen.add(`${object} ${index}`);
        count++;
      }
    }
    expect(seen.size).toBe(count);
    for (const [object, pages] of each.objects) {
      for (const index of pages.keys()) {
        expect(seen.has(`${object} ${index}`)).toBe(pool.has(object, index));
      }
    }
  }

  flushPage(at: number, object: number, index: number): void {
    const each = this.#pools[at % this.#pools.length];
    if (each === undefined) return;
    const wasHeld = each.pool.has(object, index);
    expect(each.pool.flushPage(object, index)).toBe(wasHeld);
    expect(each.pool.has(object, index)).toBe(false);
    each.objects.get(object)?.delete(index);
  }

  flushObject(at: number, object: number): void {
    const each = this.#pools[at % this.#pools.length];
    if (each === undefined) return;
    const indexes = [...(each.objects.get(object)?.keys() ?? [])];
    const heldCount = indexes.filter((index) => each.pool.has(object, index)).length;
    expect(each.pool.flushObject(object)).toBe(heldCount);
    for (const index of indexes) expect(each.pool.has(object, index)).toBe(false);
    each.objects.delete(object);
    each.touchers.delete(object);
  }

  shrink(bytes: number): void {
    const before = this.#heldBytes();
    const freed = this.#tmem.shrink(bytes);
    // A policy that remembers what left may take more than it gave; then nothing was given.
    expect(Math.max(0, before - this.#heldBytes())).toBe(freed);
  }

  setLimit(bytes: number): void {
    this.#tmem.setLimit(bytes);
    this.#wasLimitLowered = true;
    expect(this.#tmem.limitBytes).toBe(bytes);
  }

  /** Changes the cap of an account, and has it give what it can if that is lower than what it has. */
  setCap(at: number, bytes: number): void {
    const account = this.#accounts[at];
    if (account === undefined || bytes < account.minimumBytes) return;
    account.setShare({ capBytes: bytes });
    while (this.#tmem.trimToCaps(16) > 0);
    if (account.usedBytes <= bytes) {
      this.#given.delete(account);
      return;
    }
    this.#given.add(account);
    const isLeft = ({ pool }: ModelPool) => !pool.isPersistent && pool.usage.pages > 0;
    const own = this.#pools.filter(({ pool }) => pool.account === account);
    expect(own.filter(isLeft).map(({ pool }) => pool.usage.pages)).toEqual([]);
  }

  setFrozen(isFrozen: boolean): void {
    if (isFrozen) this.#tmem.freeze();
    else this.#tmem.thaw();
  }

  lend(at: number, object: number, index: number): void {
    const { lender } = this.#composition;
    const each = this.#pools[at % this.#pools.length];
    if (lender === undefined || each === undefined) return;
    const loan = lender.lend(each.pool.id, object, index);
    if (loan === NO_LOAN) return;
    lender.countLent(1);
    this.#counts.loans++;
    const content = each.objects.get(object)?.get(index);
    expect(content).toBeDefined();
    if (content === undefined) return;
    const page = pageOf(each.pool.pageBytes, content.kind, content.version);
    const lent = {
      ...{ loan, page },
      buffer: lender.loanBuffer(loan),
      offset: lender.loanOffset(loan),
    };
    this.#loans.push(lent);
    this.#expectLent(lent);
  }

  returnLoan(at: number): void {
    const each = this.#loans[at % this.#loans.length];
    if (each === undefined) return;
    this.#loans.splice(this.#loans.indexOf(each), 1);
    this.#expectLent(each);
    this.#composition.lender?.returnLoan(each.loan);
  }

  /** What must be so after every step. */
  check(): void {
    const { layers } = this.#composition;
    for (const account of this.#accounts) {
      if (account.usedBytes <= account.capBytes || this.#given.has(account)) continue;
      expect.fail(`${account.name} has ${account.usedBytes} of ${account.capBytes} bytes`);
    }
    const pages = [...this.#tmem.accounts].reduce((sum, account) => sum + account.pages, 0);
    expect(pages).toBe(layers.reduce((sum, layer) => sum + pagesIn(layer), 0));
    const pools = [...new Map(this.#pools.map(({ pool }) => [pool.id, pool])).values()];
    for (const account of this.#tmem.accounts) {
      const own = pools.filter((pool) => pool.account === account);
      const ownPages = sumOf(own, ({ usage }) => usage.pages);
      if (ownPages === account.pages && sumOf(own, usedBytesOf) === account.usedBytes) continue;
      expect.fail(`${account.name} is not charged for what its pools have`);
    }
    const persistent = pools.filter(({ isPersistent }) => isPersistent);
    const persistentBytes = sumOf(layers, (layer) => layer.usage().persistentBytes);
    expect(persistentBytes).toBe(sumOf(persistent, usedBytesOf));
    for (const [at, layer] of layers.entries()) {
      const { dataBytes, metadataBytes, storedBytes, limitBytes } = layer.usage();
      const usedBytes = dataBytes + metadataBytes;
      // Above a limit that was lowered a layer may stay for a while, but no page may be added;
      // what left to make room is remembered.
      const most = Math.max(limitBytes, this.#usedBytes[at] ?? 0) + GHOSTS_BYTES;
      if (usedBytes > limitBytes && (!this.#wasLimitLowered || usedBytes > most)) {
        expect.fail(`${layer.name} takes ${usedBytes} of ${limitBytes} bytes`);
      }
      this.#usedBytes[at] = usedBytes;
      if (storedBytes > dataBytes) expect.fail(`${layer.name} holds more than its slabs`);
    }
  }

  /** Reads everything, counts everything, gives everything back: nothing may be left. */
  finish(): void {
    const { layers } = this.#composition;
    for (const loan of this.#loans) this.#expectLent(loan);
    for (const [at, { objects }] of this.#pools.entries()) {
      for (const [object, pages] of [...objects]) {
        for (const index of [...pages.keys()]) this.get(at, object, index);
      }
    }
    this.check();
    const { puts, gets, hits, loans } = this.#counts;
    const { statistics } = layers[0] as Composition['layers'][0];
    expect(statistics.puts.reduce((total, each) => total + each, 0)).toBe(puts);
    expect(statistics.hits + statistics.misses).toBe(gets + loans);
    const layerHits = layers.reduce((total, layer) => total + layer.statistics.hits, 0);
    expect(layerHits).toBe(hits + loans);
    expect(layers.every((layer) => layer.statistics.corrupt === 0)).toBe(true);

    for (const at of this.#pools.keys()) this.list(at);
    const accounts = this.#tmem.accounts;
    while (this.#pools.length > 0) this.destroyPool(0);
    for (const account of accounts) expect([account.pages, account.usedBytes]).toEqual([0, 0]);
    while (this.#loans.length > 0) this.returnLoan(0);
    for (const layer of layers) {
      expect(pagesIn(layer)).toBe(0);
      expect(layer.usage().dataBytes).toBe(0);
      expect(layer.usage().storedBytes).toBe(0);
    }
  }

  #heldBytes(): number {
    const held = this.#composition.layers.map((layer) => layer.usage());
    return held.reduce((total, usage) => total + usage.dataBytes + usage.metadataBytes, 0);
  }

  #expectContent(answer: Buffer, { kind, version }: Content): void {
    const expected = writePage(this.#src.subarray(0, answer.length), kind, version);
    if (!answer.equals(expected)) expect.fail(`not version ${version}, a ${kind} page`);
  }

  #expectLent({ page, buffer, offset }: ModelLoan): void {
    if (!buffer.subarray(offset, offset + page.length).equals(page)) {
      expect.fail('a lent page changed, or was moved');
    }
  }
}

const usedBytesOf = ({ usage }: Pool): number => usage.usedBytes;

function sumOf<Item>(items: readonly Item[], measure: (item: Item) => number): number {
  return items.reduce((sum, item) => sum + measure(item), 0);
}
