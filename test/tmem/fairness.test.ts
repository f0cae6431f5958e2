import { describe, expect, it } from 'vitest';
import type { AccountShare } from '../../src/tmem/account.ts';
import { isRefused, MISS, REFUSED_LIMIT } from '../../src/tmem/layer.ts';
import type { Pool } from '../../src/tmem/pool.ts';
import { Tmem } from '../../src/tmem/tmem.ts';
import { COMPOSITIONS } from '../layers/compositions.ts';
import { pagesIn } from './layer-contract.ts';
import { writePage } from './page-content.ts';

const PAGE = 4096;
const MIB = 2 ** 20;
const page = Buffer.alloc(PAGE);
const dst = Buffer.alloc(PAGE);

/** Pools over a stack, each with an account of its own. */
class Clients {
  readonly tmem: Tmem;
  readonly #next = new Map<Pool, number>();

  constructor(composition: string, limitBytes: number) {
    const make = COMPOSITIONS[composition];
    if (make === undefined) throw new Error(`no composition ${composition}`);
    this.tmem = new Tmem(make({ limitBytes, pageBytesMax: PAGE }).layers);
  }

  join(share: AccountShare = {}, kind: 'ephemeral' | 'persistent' = 'ephemeral'): Pool {
    const account = this.tmem.createAccount({ name: 'client', ...share });
    return this.tmem.createPool({ kind, account });
  }

  /** Puts so many pages under new names; answers how many were refused. */
  fill(pool: Pool, count: number): number {
    const first = this.#next.get(pool) ?? 0;
    this.#next.set(pool, first + count);
    let refusedCount = 0;
    for (let index = first; index < first + count; index++) {
      if (isRefused(pool.put(0, index, writePage(page, 'half', index)))) refusedCount++;
    }
    return refusedCount;
  }

  /** Fills turn by turn. */
  fillAll(pools: readonly Pool[], count: number): void {
    for (let i = 0; i < count; i++) for (const pool of pools) this.fill(pool, 1);
  }
}

const usedBytes = (pools: readonly Pool[]): number[] =>
  pools.map(({ account }) => account.usedBytes);

const evictedCount = ({ layers }: Tmem): number =>
  layers.reduce((sum, { statistics }) => sum + statistics.evictedForCapacity, 0);

/** Asks for the pages as a reader does, who puts what missed; answers the share that hit. */
function read(pool: Pool, indexes: Iterable<number>): number {
  let hits = 0;
  let count = 0;
  for (const index of indexes) {
    count++;
    if (pool.get(0, index, dst) !== MISS) hits++;
    else pool.put(0, index, writePage(page, 'half', index));
  }
  return hits / count;
}

function* range(first: number, end: number): Iterable<number> {
  for (let index = first; index < end; index++) yield index;
}

describe.each([
  'zcache by s3fifo-cw and native lz4',
  'hot over zcache',
  'zcache by lru and lz4-napi',
])('accounts in %s', (composition) => {
  it('share the memory by their weights, whichever of them has the greater one', () => {
    for (const weights of [
      [100, 300],
      [300, 100],
    ]) {
      const clients = new Clients(composition, 4 * MIB);
      const pools = weights.map((weight) => clients.join({ weight }));
      clients.fillAll(pools, 6000);
      const [one = 0, other = 0] = usedBytes(pools);
      const [first = 0, second = 0] = weights;
      expect(one / other / (first / second)).toBeGreaterThan(0.85);
      expect(one / other / (first / second)).toBeLessThan(1.18);
    }
  });

  it('lose pages only while they are above their share: in both directions', () => {
    const clients = new Clients(composition, 4 * MIB);
    const [small, large] = [clients.join(), clients.join()];
    clients.fill(small, 500); // far below half
    const [before] = usedBytes([small]);
    clients.fill(large, 10_000);
    expect(usedBytes([small])[0]).toBeGreaterThan(0.9 * (before ?? 0));
    // Now the small one grows: what it takes, the one above its share gives.
    clients.fill(small, 10_000);
    const [one = 0, other = 0] = usedBytes([small, large]);
    expect(one / other).toBeGreaterThan(0.85);
    expect(one / other).toBeLessThan(1.18);
  });

  it('lend what they do not use', () => {
    const clients = new Clients(composition, 4 * MIB);
    const [idle, busy] = [clients.join({ weight: 10_000 }), clients.join({ weight: 1 })];
    clients.fill(idle, 10);
    clients.fill(busy, 10_000);
    const [one = 0, other = 0] = usedBytes([idle, busy]);
    expect(one).toBeLessThan(0.1 * MIB);
    expect(other).toBeGreaterThan(0.8 * clients.tmem.usedBytes);
  });

  it('follow a weight that is changed while they are in use', () => {
    const clients = new Clients(composition, 4 * MIB);
    const pools = [clients.join(), clients.join()];
    clients.fillAll(pools, 5000);
    pools[0]?.account.setShare({ weight: 900 });
    clients.fillAll(pools, 8000);
    const [one = 0, other = 0] = usedBytes(pools);
    expect(one / other).toBeGreaterThan(9 * 0.8);
  });

  it('never pass their cap, make room for themselves from their own, and leave the rest alone', () => {
    const clients = new Clients(composition, 4 * MIB);
    const [capped, other] = [clients.join({ capBytes: MIB }), clients.join()];
    clients.fill(other, 500);
    const [before] = usedBytes([other]);
    for (let i = 0; i < 2000; i++) {
      expect(clients.fill(capped, 1)).toBe(0);
      expect(capped.account.usedBytes).toBeLessThanOrEqual(MIB);
    }
    // What leaves hot is compressed, so that the cap holds more than its bytes in pages.
    expect(capped.account.pages * PAGE).toBeGreaterThan(1.5 * MIB);
    expect(capped.account.usedBytes).toBeGreaterThan(0.95 * MIB);
    expect(capped.has(0, 1999)).toBe(true);
    expect(usedBytes([other])[0]).toBeGreaterThanOrEqual((before ?? 0) * 0.6);
    for (let index = 0; index < 500; index++) expect(other.has(0, index)).toBe(true);
  });

  it('are trimmed to a cap that was lowered, a few pages at a time, and the others keep theirs', () => {
    const clients = new Clients(composition, 4 * MIB);
    const [capped, other] = [clients.join(), clients.join()];
    clients.fillAll([capped, other], 400);
    expect(clients.tmem.trimToCaps(64)).toBe(0);
    const [before, others] = usedBytes([capped, other]);
    capped.account.setShare({ capBytes: Math.floor((before ?? 0) / 4) });
    const counts: number[] = [];
    const evicted = evictedCount(clients.tmem);
    do counts.push(clients.tmem.trimToCaps(64));
    while (counts.at(-1) !== 0);
    expect(Math.max(...counts)).toBe(64);
    const left = counts.reduce((sum, count) => sum + count, 0);
    expect(evictedCount(clients.tmem) - evicted).toBe(left);
    expect(capped.account.usedBytes).toBeLessThanOrEqual(capped.account.capBytes);
    expect(capped.account.usedBytes).toBeGreaterThan(capped.account.capBytes * 0.9);
    expect(usedBytes([other])[0]).toBe(others);
    for (let index = 0; index < 400; index++) expect(other.has(0, index)).toBe(true);
  });

  it('keep persistent pages above a cap that was lowered, and lose the others', () => {
    const clients = new Clients(composition, 4 * MIB);
    const account = clients.tmem.createAccount({ name: 'client' });
    const dirty = clients.tmem.createPool({ kind: 'persistent', account });
    const clean = clients.tmem.createPool({ kind: 'ephemeral', account });
    clients.fillAll([dirty, clean], 200);
    account.setShare({ capBytes: 0 });
    while (clients.tmem.trimToCaps(64) > 0);
    for (let index = 0; index < 200; index++) {
      expect(clean.has(0, index)).toBe(false);
      expect(dirty.get(0, index, dst)).not.toBe(MISS);
      expect(dst.equals(writePage(page, 'half', index))).toBe(true);
    }
  });

  it('are trimmed to their caps beside one that is above its own and has nothing to give', () => {
    const clients = new Clients(composition, 4 * MIB);
    const [dirty, clean] = [clients.join({}, 'persistent'), clients.join()];
    clients.fillAll([dirty, clean], 200);
    for (const { account } of [dirty, clean]) account.setShare({ capBytes: 0 });
    while (clients.tmem.trimToCaps(4) > 0);
    for (let index = 0; index < 200; index++) {
      expect([dirty.has(0, index), clean.has(0, index)]).toEqual([true, false]);
    }
    expect(clean.account.usedBytes).toBe(0);
  });

  it('owe others the pages that are persistent where they are above their share, and only there', () => {
    const clients = new Clients(composition, 4 * MIB);
    const [dirty, clean] = [clients.join({}, 'persistent'), clients.join()];
    clients.fill(dirty, 6000);
    expect(dirty.account.owedPages).toBe(0); // it has them in nobody's place
    clients.fill(clean, 1000);
    expect(dirty.account.owedPages).toBeGreaterThan(300);
    expect(clean.account.owedPages).toBe(0);
  });

  it('owe nobody anything for persistent pages within their share', () => {
    const clients = new Clients(composition, 4 * MIB);
    const [dirty, clean] = [clients.join({}, 'persistent'), clients.join()];
    clients.fill(dirty, 300);
    clients.fill(clean, 10_000);
    expect([dirty.account.owedPages, clean.account.owedPages]).toEqual([0, 0]);
  });

  it('give memory back beside one with most of it and nothing to give', () => {
    const clients = new Clients(composition, 32 * MIB);
    const [dirty, clean] = [clients.join({}, 'persistent'), clients.join()];
    clients.fill(dirty, 6000);
    clients.fill(clean, 500);
    const before = clean.account.usedBytes;
    for (let step = 0; step < 8; step++) clients.tmem.shrink(256 * 1024);
    expect(clean.account.usedBytes).toBeLessThan(before / 2);
    for (let index = 0; index < 6000; index++) expect(dirty.has(0, index)).toBe(true);
  });

  it('are refused beyond their cap when all that they have is persistent', () => {
    const clients = new Clients(composition, 4 * MIB);
    const [capped, other] = [clients.join({ capBytes: MIB }, 'persistent'), clients.join()];
    clients.fill(other, 100);
    clients.fill(capped, 1000);
    expect(capped.account.usedBytes).toBeLessThanOrEqual(MIB);
    expect(capped.put(0, 5000, writePage(page, 'half', 5000))).toBe(REFUSED_LIMIT);
    for (let index = 0; index < 100; index++) expect(other.has(0, index)).toBe(true);
  });

  it('give first when their cap was lowered below what they have', () => {
    const clients = new Clients(composition, 4 * MIB);
    const [lowered, other] = [clients.join({ weight: 10_000 }), clients.join({ weight: 1 })];
    clients.fill(lowered, 10_000);
    lowered.account.setShare({ capBytes: MIB });
    clients.fill(other, 20_000);
    expect(lowered.account.usedBytes).toBeLessThanOrEqual(MIB);
    expect(lowered.account.usedBytes).toBeGreaterThan(0.5 * MIB * 0.5);
  });

  it('keep their minimum while another has more than its own', () => {
    const clients = new Clients(composition, 4 * MIB);
    const minimumBytes = 2 * MIB;
    const kept = clients.join({ minimumBytes, weight: 1 });
    const others = [clients.join({ weight: 10_000 }), clients.join({ weight: 5000 })];
    while (kept.account.usedBytes < minimumBytes) clients.fill(kept, 1);
    clients.fillAll(others, 8000);
    // At the border it loses the one page that takes it down to the minimum.
    expect(kept.account.usedBytes).toBeGreaterThan(minimumBytes - 2 * PAGE);
    clients.tmem.shrink(MIB / 2);
    expect(kept.account.usedBytes).toBeGreaterThan(minimumBytes - 2 * PAGE);
  });
});

describe('a scan', () => {
  const HOT_SET = 500;

  it.each([true, false])('leaves a hot set its hits, by another account: %s', (isOther) => {
    const clients = new Clients('hot over zcache', 2 * MIB);
    const reader = clients.join();
    const scanner = isOther ? clients.join() : reader;
    for (let round = 0; round < 12; round++) {
      read(reader, range(0, HOT_SET));
      read(reader, range(10_000 + round * 100, 10_100 + round * 100));
    }
    const before = read(reader, range(0, HOT_SET));
    expect(before).toBeGreaterThan(0.97);
    const scanned = (10 * 4 * MIB) / PAGE;
    const during: number[] = [];
    for (let part = 0; part < 10; part++) {
      const first = 100_000 + part * (scanned / 10);
      read(scanner, range(first, first + scanned / 10));
      if (isOther) during.push(read(reader, range(0, HOT_SET)));
    }
    for (const share of during) expect(share).toBeGreaterThanOrEqual(0.95 * before);
    expect(read(reader, range(0, HOT_SET))).toBeGreaterThanOrEqual(0.95 * before);
  });
});

it('accounts that come and go by the thousand leave nothing behind', () => {
  const clients = new Clients('hot over zcache', 2 * MIB);
  const { tmem } = clients;
  const stays = clients.join({ weight: 10_000 });
  clients.fill(stays, 2500);
  const metadataBytes = () =>
    tmem.layers.reduce((sum, layer) => sum + layer.usage().metadataBytes, 0);
  const before = metadataBytes();
  for (let i = 0; i < 3000; i++) {
    const pool = clients.join({ weight: 1 });
    clients.fill(pool, 40);
    pool.destroy();
    expect([pool.account.pages, pool.account.usedBytes]).toEqual([0, 0]);
  }
  expect(tmem.accounts).toEqual(new Set([stays.account]));
  expect(metadataBytes()).toBeLessThan(before + 64 * 1024);
  expect(stays.account.pages).toBe(tmem.layers.reduce((sum, layer) => sum + pagesIn(layer), 0));
  clients.fill(stays, 3000);
  expect(stays.account.usedBytes).toBeGreaterThan(0.85 * tmem.usedBytes);
});

it('many accounts share evenly, and choosing among them still finds who has most', () => {
  const clients = new Clients('zcache by s3fifo-cw and native lz4', 8 * MIB);
  const pools = Array.from({ length: 100 }, () => clients.join());
  const [first] = pools;
  if (first === undefined) return;
  clients.fill(first, 10_000);
  clients.fillAll(pools, 120);
  const used = usedBytes(pools);
  expect(Math.max(...used) / Math.min(...used)).toBeLessThan(1.3);
});

it('an account keeps its minimum in hot beside one with more than its own and nothing to give', () => {
  const clients = new Clients('hot over zcache', 32 * MIB);
  const [dirty, clean] = [clients.join({}, 'persistent'), clients.join()];
  clients.fill(dirty, 6000);
  clients.fill(clean, 500);
  const minimumBytes = Math.floor(clean.account.usedBytes / 2);
  clean.account.setShare({ minimumBytes });
  for (let step = 0; step < 16; step++) clients.tmem.shrink(256 * 1024);
  expect(clean.account.usedBytes / minimumBytes).toBeCloseTo(1, 1);
});
