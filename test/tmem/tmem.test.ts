import { describe, expect, it } from 'vitest';
import { TmemError } from '../../src/lib/errors.ts';
import {
  createEncodedPage,
  HIT,
  isRefused,
  MISS,
  RAW,
  REPLACED,
  STORED,
} from '../../src/tmem/layer.ts';
import type { Pool } from '../../src/tmem/pool.ts';
import { POOL_COUNT_MAX, type PoolOptions, Tmem } from '../../src/tmem/tmem.ts';
import { COMPOSITIONS } from '../layers/compositions.ts';
import { pageOf } from './page-content.ts';

const PAGE = 4096;
const page = pageOf(PAGE, 'half', 1);
const dst = Buffer.alloc(PAGE);

function makeTmem(name = 'hot over zcache', limitBytes = 2 ** 20): Tmem {
  const make = COMPOSITIONS[name];
  if (make === undefined) throw new Error(`no composition ${name}`);
  return new Tmem(make({ limitBytes, pageBytesMax: 65536 }).layers);
}

const encoded = { encoding: RAW, buffer: page, offset: 0, length: PAGE } as const;

/** Every call that names a page, and a pool that it could go to. */
const BY_NAME: readonly ((pool: Pool, object: number, index: number, other: Pool) => unknown)[] = [
  (pool, object, index) => pool.put(object, index, page),
  (pool, object, index) => pool.putEncoded(object, index, encoded),
  (pool, object, index) => pool.get(object, index, dst),
  (pool, object, index) => pool.copy(object, index, dst),
  (pool, object, index) => pool.overwrites(object, index, page, 0),
  (pool, object, index) => pool.peek(object, index, createEncodedPage()),
  (pool, object, index) => pool.has(object, index),
  (pool, object, index) => pool.flushPage(object, index),
  (pool, object, index, other) => pool.transferTo(other, object, index),
];

/** Every call that names an object. */
const BY_OBJECT: readonly ((pool: Pool, object: number) => unknown)[] = [
  (pool, object) => pool.flushObject(object),
  (pool, object) => pool.indexesOf(object),
];

/** Every call that reads or writes a page in memory. */
const IN_MEMORY: readonly ((pool: Pool, memory: Buffer, offset?: number) => unknown)[] = [
  (pool, memory, offset) => pool.put(0, 0, memory, offset),
  (pool, memory, offset) => pool.get(0, 0, memory, offset),
  (pool, memory, offset) => pool.copy(0, 0, memory, offset),
  (pool, memory, offset = 0) => pool.overwrites(0, 0, memory, offset),
];

function expectUsage(act: () => unknown): void {
  expect(act).toThrow(TmemError);
  expect(act).toThrow(expect.objectContaining({ kind: 'usage' }));
}

describe('a stack', () => {
  it('has at least one layer', () => {
    expectUsage(() => new Tmem([]));
  });

  it('refuses pools that go against the rules', () => {
    const tmem = makeTmem();
    for (const pageBytes of [0, 1, 2048, 4095, 5000, 131072, -4096, 4096.5, Number.NaN, 2 ** 44]) {
      expectUsage(() => tmem.createPool({ kind: 'ephemeral', pageBytes }));
    }
    expectUsage(() => tmem.createPool({ kind: 'durable' } as unknown as PoolOptions));
    expectUsage(() => tmem.createPool(undefined as unknown as PoolOptions));
    for (const account of [{}, null, 'anna', { name: 'anna', weight: 100 }]) {
      const options = { kind: 'ephemeral', account } as unknown as PoolOptions;
      expectUsage(() => tmem.createPool(options));
    }
    expectUsage(() => tmem.createPool({ kind: 'ephemeral', sharedName: '' }));
    expectUsage(() => tmem.createPool({ kind: 'ephemeral', sharedName: 'x'.repeat(257) }));
    expect(tmem.pools.size).toBe(0);
    expect(() => tmem.createPool({ kind: 'ephemeral', sharedName: 'x'.repeat(256) })).not.toThrow();
  });

  it('has so many pools at a time and no more, and takes one again for one that went', () => {
    const tmem = makeTmem();
    const pools = Array.from({ length: POOL_COUNT_MAX }, () =>
      tmem.createPool({ kind: 'ephemeral' }),
    );
    const more = () => tmem.createPool({ kind: 'ephemeral' });
    expect(more).toThrow(expect.objectContaining({ kind: 'no-space' }));
    const [first] = pools;
    first?.destroy();
    const next = more();
    expect(next.id).toBeGreaterThan(Math.max(...pools.map(({ id }) => id)));
    expect(tmem.pools.size).toBe(POOL_COUNT_MAX);
  });

  it('is overfull from a limit that its pages do not meet until they are gone, or it is raised', () => {
    const tmem = makeTmem();
    const pool = tmem.createPool({ kind: 'persistent' });
    for (let index = 0; index < 10; index++) pool.put(0, index, page);
    expect(tmem.isOverfull).toBe(false);
    tmem.setLimit(4 * PAGE);
    expect(tmem.isOverfull).toBe(true);
    tmem.setLimit(2 ** 20);
    expect(tmem.isOverfull).toBe(false);
    tmem.setLimit(4 * PAGE);
    pool.destroy();
    tmem.shrink(Number.POSITIVE_INFINITY);
    expect(tmem.isOverfull).toBe(false);
  });

  it('does one thing as if it were not frozen, and is frozen again, also where that failed', () => {
    const tmem = makeTmem();
    const pool = tmem.createPool({ kind: 'persistent' });
    tmem.freeze();
    expect(tmem.whileThawed(() => pool.put(0, 0, page))).toBe(STORED);
    expect(isRefused(pool.put(0, 1, page))).toBe(true);
    expectUsage(() => tmem.whileThawed(() => pool.put(-1, 0, page)));
    expect(isRefused(pool.put(0, 1, page))).toBe(true);
    tmem.thaw();
    tmem.whileThawed(() => {});
    expect(pool.put(0, 1, page)).toBe(STORED);
  });

  it('shrinks by bytes and by all, and by nothing else', () => {
    const tmem = makeTmem();
    const pool = tmem.createPool({ kind: 'ephemeral' });
    for (let index = 0; index < 100; index++) pool.put(0, index, page);
    for (const bytes of [-1, Number.NaN]) expectUsage(() => tmem.shrink(bytes));
    expect(tmem.shrink(1)).toBeGreaterThanOrEqual(1);
    expect(tmem.shrink(Number.POSITIVE_INFINITY)).toBeGreaterThan(100_000);
    expect(pool.has(0, 50)).toBe(false);
    expect(tmem.shrink(Number.POSITIVE_INFINITY)).toBe(0);
  });

  it('takes a limit in bytes, which its layers divide as they did the first, and nothing else', () => {
    const tmem = makeTmem();
    for (const bytes of [-1, Number.NaN, Number.POSITIVE_INFINITY]) {
      expectUsage(() => tmem.setLimit(bytes));
    }
    expect(tmem.limitBytes).toBe(2 * 2 ** 20);
    tmem.setLimit(1_000_001);
    expect(tmem.layers.map((layer) => layer.usage().limitBytes)).toEqual([500_000, 500_001]);
    expect(tmem.limitBytes).toBe(1_000_001);
  });

  it('refuses new pages while frozen and takes them when thawed', () => {
    const tmem = makeTmem();
    const pool = tmem.createPool({ kind: 'ephemeral' });
    tmem.freeze();
    expect(isRefused(pool.put(0, 0, page))).toBe(true);
    tmem.thaw();
    expect(pool.put(0, 0, page)).toBe(STORED);
  });
});

describe('a pool', () => {
  it('hands pages only to private pools of the same stack and page size', () => {
    const tmem = makeTmem();
    const pool = tmem.createPool({ kind: 'persistent' });
    tmem.authorise('a', 'shared');
    const shared = tmem.createPool({ kind: 'ephemeral', sharedName: 'shared', client: 'a' });
    const larger = tmem.createPool({ kind: 'ephemeral', pageBytes: 8192 });
    const elsewhere = makeTmem().createPool({ kind: 'ephemeral' });
    pool.put(0, 0, page);
    for (const other of [pool, shared, larger, elsewhere]) {
      expectUsage(() => pool.transferTo(other, 0, 0));
    }
    expectUsage(() => shared.transferTo(pool, 0, 0));
    const clean = tmem.createPool({ kind: 'ephemeral' });
    expectUsage(() => pool.transferTo(clean, -1, 0));
    expect(pool.transferTo(clean, 0, 0)).toBe(true);
    expect([pool.has(0, 0), clean.get(0, 0, dst)]).toEqual([false, HIT]);
    expect(dst.equals(page)).toBe(true);
    clean.destroy();
    expectUsage(() => pool.transferTo(clean, 0, 0));
  });

  it('refuses what is no Buffer', () => {
    const pool = makeTmem().createPool({ kind: 'ephemeral' });
    for (const memory of [new Uint8Array(PAGE), undefined, 'page']) {
      for (const call of IN_MEMORY) expectUsage(() => call(pool, memory as unknown as Buffer));
    }
    expect(pool.has(0, 0)).toBe(false);
  });

  it('refuses names and buffers out of range before anything happens', () => {
    const tmem = makeTmem();
    const pool = tmem.createPool({ kind: 'ephemeral' });
    const other = tmem.createPool({ kind: 'ephemeral' });
    for (const object of [-1, 0.5, 2 ** 53, Number.NaN]) {
      for (const call of BY_NAME) expectUsage(() => call(pool, object, 0, other));
      for (const call of BY_OBJECT) expectUsage(() => call(pool, object));
    }
    for (const index of [-1, 0.5, 2 ** 32, Number.NaN]) {
      for (const call of BY_NAME) expectUsage(() => call(pool, 0, index, other));
    }
    for (const call of IN_MEMORY) {
      for (const offset of [-1, 1, 0.5, Number.NaN, PAGE]) {
        expectUsage(() => call(pool, page, offset));
      }
      expectUsage(() => call(pool, Buffer.alloc(PAGE - 1)));
    }
    expect(pool.has(0, 0)).toBe(false);
  });

  it('is of no use once destroyed, and may be destroyed again', () => {
    const tmem = makeTmem();
    const pool = tmem.createPool({ kind: 'persistent' });
    for (let index = 0; index < 3; index++) pool.put(index, 0, page);
    expect(pool.destroy()).toBe(3);
    expect(pool.destroy()).toBe(0);
    const other = tmem.createPool({ kind: 'persistent' });
    for (const call of BY_NAME) expectUsage(() => call(pool, 0, 0, other));
    for (const call of BY_OBJECT) expectUsage(() => call(pool, 0));
    expectUsage(() => pool.objects());
    expect([...tmem.pools]).toEqual([other]);
  });

  it('keeps its pages from other pools, whatever their names', () => {
    const tmem = makeTmem();
    const pools = [1, 2, 3].map(() => tmem.createPool({ kind: 'ephemeral' }));
    for (const [i, pool] of pools.entries()) pool.put(0, 0, pageOf(PAGE, 'half', i));
    pools[1]?.destroy();
    for (const i of [0, 2]) {
      expect(pools[i]?.get(0, 0, dst)).toBe(HIT);
      expect(dst.equals(pageOf(PAGE, 'half', i))).toBe(true);
    }
  });

  it('gives an exclusive get the page once, from every layer', () => {
    for (const kind of ['ephemeral', 'persistent'] as const) {
      const pool = makeTmem().createPool({ kind, isExclusive: true });
      for (let index = 0; index < 300; index++) pool.put(0, index, page);
      const held = Array.from({ length: 300 }, (_, i) => i).filter((i) => pool.has(0, i));
      expect(held.length).toBeGreaterThan(200);
      for (const index of held) expect(pool.get(0, index, dst)).toBe(HIT);
      for (const index of held) expect(pool.get(0, index, dst)).toBe(MISS);
      expect(pool.put(0, held[0] ?? 0, page)).toBe(STORED);
    }
  });
});

describe('a shared pool', () => {
  const shared = (tmem: Tmem, client: string, rest: Partial<PoolOptions> = {}): Pool =>
    tmem.createPool({ kind: 'ephemeral', sharedName: 'base', client, ...rest });

  function makeShared(...clients: string[]): { tmem: Tmem; pools: Pool[] } {
    const tmem = makeTmem();
    for (const client of clients) tmem.authorise(client, 'base');
    return { tmem, pools: clients.map((client) => shared(tmem, client)) };
  }

  it('is private, and says so, for a client that was not authorised', () => {
    const { tmem, pools } = makeShared('a');
    const [mine] = pools as [Pool];
    const others = [
      shared(tmem, 'b'),
      shared(tmem, ''),
      tmem.createPool({ kind: 'ephemeral', sharedName: 'other', client: 'a' }),
    ];
    mine.put(0, 0, page);
    expect(mine.isShared).toBe(true);
    for (const other of others) {
      expect(other.isShared).toBe(false);
      expect(other.get(0, 0, dst)).toBe(MISS);
      other.put(0, 0, pageOf(PAGE, 'half', 2));
    }
    mine.get(0, 0, dst);
    expect(dst.equals(page)).toBe(true);
  });

  it('is private again for a client whose authorisation was taken back', () => {
    const { tmem, pools } = makeShared('a', 'b');
    tmem.revoke('a', 'base');
    expect(shared(tmem, 'a').isShared).toBe(false);
    expect(shared(tmem, 'b').isShared).toBe(true);
    expect(pools[0]?.isShared).toBe(true);
  });

  it('tells clients and names apart, however they are put together', () => {
    const tmem = makeTmem();
    tmem.authorise('a","b', 'c');
    const pool = tmem.createPool({ kind: 'ephemeral', client: 'a', sharedName: 'b","c' });
    expect(pool.isShared).toBe(false);
  });

  it('has the same pages for all, and the newest', () => {
    const { pools } = makeShared('a', 'b');
    const [a, b] = pools as [Pool, Pool];
    expect(a.put(0, 0, page)).toBe(STORED);
    expect(b.put(0, 0, pageOf(PAGE, 'half', 2))).toBe(REPLACED);
    expect(a.get(0, 0, dst)).toBe(HIT);
    expect(dst.equals(pageOf(PAGE, 'half', 2))).toBe(true);
    expect(b.flushPage(0, 0)).toBe(true);
    expect(a.get(0, 0, dst)).toBe(MISS);
  });

  it('loses only what the one who leaves touched last, and all with the last', () => {
    const { tmem, pools } = makeShared('a', 'b');
    const [a, b] = pools as [Pool, Pool];
    for (let object = 0; object < 4; object++) a.put(object, 0, page);
    a.putEncoded(4, 0, { encoding: RAW, buffer: page, offset: 0, length: PAGE });
    b.put(1, 1, page);
    b.get(2, 0, dst);
    expect(a.destroy()).toBe(3);
    const held = [0, 1, 2, 3, 4].map((object) => b.has(object, 0));
    expect(held).toEqual([false, true, true, false, false]);
    expect(b.destroy()).toBe(3);
    const again = shared(tmem, 'a');
    expect(again.id).toBeGreaterThan(b.id);
    expect(again.has(1, 0)).toBe(false);
  });

  it('is never persistent, and has pages of one size', () => {
    const { tmem } = makeShared('a');
    expectUsage(() => shared(tmem, 'a', { kind: 'persistent' }));
    expectUsage(() => shared(tmem, 'not authorised', { kind: 'persistent' }));
    expectUsage(() => shared(tmem, 'a', { pageBytes: 8192 }));
    expect(tmem.pools.size).toBe(1);
  });

  it('forgets its oldest object rather than remember ever more', () => {
    const tmem = makeTmem('zcache by lru and lz4-napi', 96 * 2 ** 20);
    tmem.authorise('a', 'base');
    const pool = shared(tmem, 'a');
    const zero = Buffer.alloc(PAGE);
    for (let object = 0; object < 65_536; object++) pool.put(object, 0, zero);
    pool.get(5, 0, dst);
    pool.flushObject(65_535);
    for (let object = 65_536; object < 65_536 + 100; object++) pool.put(object, 0, zero);
    for (const object of [0, 99]) expect(pool.has(object, 0)).toBe(false);
    for (const object of [5, 100, 65_635]) expect(pool.has(object, 0)).toBe(true);
  });
});
