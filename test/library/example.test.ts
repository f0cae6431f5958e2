import { expect, it } from 'vitest';
import {
  createEncodedPage,
  createTmem,
  FILLED,
  HIT,
  isRefused,
  MISS,
  RAW,
  TmemError,
} from '../../src/index.ts';

it('the library holds pages in pools, and gives memory back, as its manual shows', () => {
  // A stack: 64 MiB for everything, a quarter of it for pages as they are.
  const tmem = createTmem({ memoryBytes: 64 * 1024 * 1024, hotFraction: 0.25 });

  // A pool, in which a page is named by an object and an index.
  const pool = tmem.createPool({ kind: 'ephemeral', pageBytes: 4096 });
  const page = Buffer.alloc(pool.pageBytes, 'what was read from a disk. ');
  const copy = Buffer.alloc(pool.pageBytes);

  // A put copies the page, or refuses it; then no older version of it is held either.
  const outcome = pool.put(7, 42, page);
  if (isRefused(outcome)) throw new Error('nobody else uses this memory');

  // A get copies it out; at a miss the destination is as it was.
  expect(pool.get(7, 42, copy)).toBe(HIT);
  expect(copy.equals(page)).toBe(true);
  expect(pool.get(7, 43, copy)).toBe(MISS);

  // Flushes are in force when they return, and say how much there was.
  for (let index = 0; index < 1000; index++) pool.put(8, index, page);
  expect(pool.flushPage(8, 0)).toBe(true);
  expect(pool.flushObject(8)).toBe(999);

  // Ephemeral pages go when memory is wanted back.
  for (let index = 0; index < 1000; index++) pool.put(9, index, page);
  expect(tmem.shrink(1024 * 1024)).toBeGreaterThanOrEqual(1024 * 1024);

  // Every layer counts what it does and says what it holds.
  for (const { name, statistics, usage } of tmem.layers.map((layer) => ({
    name: layer.name,
    statistics: layer.statistics,
    usage: layer.usage(),
  }))) {
    expect(['hot', 'zcache']).toContain(name);
    expect(statistics.hits + statistics.misses).toBeGreaterThanOrEqual(1);
    expect(usage.dataBytes + usage.metadataBytes).toBeLessThanOrEqual(usage.limitBytes);
  }

  // A destroyed pool takes its pages with it.
  expect(pool.destroy()).toBeGreaterThan(0);
  expect(() => pool.put(7, 42, page)).toThrow(TmemError);
});

it('the library makes a written page a clean one, and shows how it is held, as its manual shows', () => {
  const tmem = createTmem({ memoryBytes: 16 * 1024 * 1024 });
  const account = tmem.createAccount({ name: 'vm-1', weight: 200, capBytes: 8 * 1024 * 1024 });
  const dirty = tmem.createPool({ kind: 'persistent', account });
  const clean = tmem.createPool({ kind: 'ephemeral', account: dirty.account });
  const page = Buffer.alloc(dirty.pageBytes, 'what a guest wrote. ');
  dirty.put(7, 42, page);
  expect(dirty.transferTo(clean, 7, 42)).toBe(true);
  expect([dirty.has(7, 42), clean.has(7, 42)]).toEqual([false, true]);

  const encoded = createEncodedPage();
  expect(clean.peek(7, 42, encoded)).toBe(true);
  const { buffer, offset, length } = encoded;
  expect(encoded.encoding).toBe(RAW);
  expect(buffer.subarray(offset, offset + length).equals(page)).toBe(true);
  clean.put(7, 43, Buffer.alloc(clean.pageBytes));
  expect(clean.peek(7, 43, encoded)).toBe(true);
  expect([encoded.encoding, encoded.length]).toEqual([FILLED, 4]);
  expect([...clean.objects()]).toEqual([7]);
  expect([...clean.indexesOf(7)].sort()).toEqual([42, 43]);

  expect(tmem.accounts).toEqual(new Set([account]));
  expect(account.pages).toBe(2);
  account.setShare({ weight: 50, minimumBytes: 1024 * 1024 });
  expect(() => account.setShare({ weight: 0 })).toThrow(TmemError);
  tmem.setLimit(8 * 1024 * 1024);
  expect(tmem.limitBytes).toBe(8 * 1024 * 1024);
  expect(tmem.freeableBytes).toBeLessThanOrEqual(tmem.usedBytes);
});

it('the library shares pages by name for as long as that is granted, as its manual shows', () => {
  const tmem = createTmem({ memoryBytes: 16 * 1024 * 1024 });
  const asked = { kind: 'ephemeral', sharedName: 'distribution' } as const;
  for (const client of ['anna', 'ben']) tmem.authorise(client, 'distribution');
  const annas = tmem.createPool({ ...asked, client: 'anna' });
  const bens = tmem.createPool({ ...asked, client: 'ben' });
  const page = Buffer.alloc(annas.pageBytes, 'a page of a base image. ');
  annas.put(7, 42, page);
  expect(bens.get(7, 42, Buffer.alloc(page.length))).toBe(HIT);
  expect(bens.id).toBe(annas.id);
  expect(bens.usage.pages).toBe(1);
  expect(bens.usage.usedBytes).toBe(annas.account.usedBytes);

  tmem.revoke('anna', 'distribution');
  expect(annas.has(7, 42)).toBe(true);
  expect(tmem.createPool({ ...asked, client: 'anna' }).isShared).toBe(false);
  expect(annas.destroy()).toBe(0);
  expect(bens.destroy()).toBe(1);
});

it('the library takes a page as another stack holds it, as its manual shows', () => {
  const [from, to] = [1, 2].map(() => {
    return createTmem({ memoryBytes: 8 * 1024 * 1024 }).createPool({ kind: 'ephemeral' });
  });
  if (from === undefined || to === undefined) throw new Error('two pools were made');
  const page = Buffer.alloc(from.pageBytes, 'what is put elsewhere, too. ');
  from.put(7, 42, page);
  const encoded = createEncodedPage();
  expect(from.peek(7, 42, encoded)).toBe(true);
  expect(isRefused(to.putEncoded(7, 43, encoded))).toBe(false);
  const copy = Buffer.alloc(page.length);
  expect(to.get(7, 43, copy)).toBe(HIT);
  expect(copy.equals(page)).toBe(true);
});

it('the library refuses options that make no stack', () => {
  const memoryBytes = 8 * 1024 * 1024;
  for (const options of [
    { memoryBytes: 4 * 1024 * 1024 - 1 },
    { memoryBytes: Number.NaN },
    { memoryBytes, hotFraction: 1.1 },
    { memoryBytes, hotFraction: Number.NaN },
    { memoryBytes, pageBytesMax: 5000 },
    { memoryBytes, pageBytesMax: 131_072 },
    { memoryBytes, policy: 'mru' as 'lru' },
    { memoryBytes: 128 * 1024 ** 3 + 1 },
    undefined,
    null,
  ]) {
    expect(() => createTmem(options as Parameters<typeof createTmem>[0])).toThrow(
      expect.objectContaining({ kind: 'usage' }),
    );
  }
});

it('the library makes a stack of every shape', () => {
  for (const hotFraction of [0, 0.01, 0.5, 1]) {
    for (const policy of ['s3fifo-cw', 'lru'] as const) {
      const tmem = createTmem({ memoryBytes: 4 * 1024 * 1024, hotFraction, policy });
      const pool = tmem.createPool({ kind: 'ephemeral', pageBytes: 65_536 });
      const page = Buffer.alloc(65_536, 'any');
      for (let index = 0; index < 100; index++) pool.put(0, index, page);
      expect(pool.get(0, 99, Buffer.alloc(65_536))).toBe(HIT);
      const limits = tmem.layers.map((layer) => layer.usage().limitBytes);
      expect(limits.reduce((sum, each) => sum + each, 0)).toBe(4 * 1024 * 1024);
    }
  }
});

it.each([
  [{ memoryBytes: 1024 }, /at least 4194304 bytes/],
  [{ memoryBytes: 8 << 20, hotFraction: 2 }, /from 0 to 1, not 2/],
  [{ memoryBytes: 8 << 20, hotFraction: '0.5' }, /from 0 to 1, not 0.5/],
  [{ memoryBytes: 8 << 20, codec: 'zstd' }, /no codec "zstd"; choose one of auto, lz4, lz4-napi/],
  [{ memoryBytes: 8 << 20, policy: 'mru' }, /no eviction policy "mru"; choose one of/],
  [{ memoryBytes: 8 << 20, pageBytesMax: 5000 }, /a power of two; not 5000/],
])('the library refuses %j', (options, message) => {
  const attempt = () => createTmem(options as Parameters<typeof createTmem>[0]);
  expect(attempt).toThrow(message);
  expect(attempt).toThrow(TmemError);
});
