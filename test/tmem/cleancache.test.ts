import { describe, expect, it, vi } from 'vitest';
import { Cleancache, PAGES_PER_OBJECT } from '../../src/tmem/cleancache.ts';
import { createEncodedPage, HIT, HIT_ZERO, MISS, STORED } from '../../src/tmem/layer.ts';
import { NO_LOAN } from '../../src/tmem/lender.ts';
import { Tmem } from '../../src/tmem/tmem.ts';
import { COMPOSITIONS } from '../layers/compositions.ts';
import { fc } from '../tools/seed.ts';
import { turnsWhile } from '../tools/turns.ts';
import { pageOf } from './page-content.ts';

const PAGE = 4096;
const dst = Buffer.alloc(PAGE);

function makeCache(name: string, limitBytes = 2 ** 21): Cleancache {
  const make = COMPOSITIONS[name];
  if (make === undefined) throw new Error(`no composition ${name}`);
  const { layers, lender } = make({ limitBytes, pageBytesMax: PAGE });
  return new Cleancache(new Tmem(layers), PAGE, lender);
}

describe('cleancache', () => {
  it('names pages by their number, also far beyond 32 bits', () => {
    const cache = makeCache('hot over zcache');
    const numbers = [0, 1, PAGES_PER_OBJECT - 1, PAGES_PER_OBJECT, 2 ** 32, 2 ** 40 + 5];
    for (const [i, page] of numbers.entries()) {
      expect(cache.put(page, pageOf(PAGE, 'half', i), 0)).toBe(STORED);
    }
    for (const [i, page] of numbers.entries()) {
      expect(cache.get(page, dst, 0)).toBe(HIT);
      expect(dst.equals(pageOf(PAGE, 'half', i))).toBe(true);
    }
    expect(cache.get(2, dst, 0)).toBe(MISS);
    expect([cache.hits, cache.misses]).toEqual([numbers.length, 1]);
    const other = makeCache('hot over zcache');
    const encoded = createEncodedPage();
    for (const [i, page] of numbers.entries()) {
      const [object, index] = [Math.floor(page / PAGES_PER_OBJECT), page % PAGES_PER_OBJECT];
      expect(cache.pool.peek(object, index, encoded)).toBe(true);
      expect(other.putEncoded(page, encoded)).toBe(STORED);
      expect(other.copy(page, dst.fill(0), 0)).toBe(HIT);
      expect(dst.equals(pageOf(PAGE, 'half', i))).toBe(true);
      other.flush(page, 1);
      expect([other.has(page), other.copy(page, dst, 0)]).toEqual([false, MISS]);
    }
  });

  it('is one of many private ephemeral pools', () => {
    const { pool } = makeCache('hot over zcache');
    expect([pool.isPersistent, pool.isShared, pool.isExclusive]).toEqual([false, false, false]);
  });

  it('tells a page of zeros', () => {
    const cache = makeCache('zcache by s3fifo-cw and native lz4');
    cache.put(3, Buffer.alloc(PAGE), 0);
    expect(cache.get(3, dst.fill(1), 0)).toBe(HIT_ZERO);
    expect(dst.equals(Buffer.alloc(PAGE))).toBe(true);
  });

  it.each([
    'hot over zcache',
    'hot over a layer that refuses everything',
    'zcache by lru and lz4-napi',
  ])('tells pages of more than four bytes from others and none, in %s', (name) => {
    const cache = makeCache(name);
    cache.put(0, pageOf(PAGE, 'half', 1), 0);
    cache.put(1, Buffer.alloc(PAGE), 0);
    cache.put(2, Buffer.alloc(PAGE, 'word'), 0);
    cache.put(3, pageOf(PAGE, 'random', 1), 0);
    const pages = [0, 1, 2, 3, 4];
    expect(pages.map((page) => cache.has(page))).toEqual([true, true, true, true, false]);
    expect(pages.map((page) => cache.hasBytes(page))).toEqual([true, false, false, true, false]);
    expect([cache.hits, cache.misses]).toEqual([0, 0]);
  });

  it('drops exactly the pages of a range, over any number of objects', async () => {
    const place = fc.oneof(
      fc.nat({ max: 40 }),
      fc.integer({ min: PAGES_PER_OBJECT - 3, max: PAGES_PER_OBJECT + 3 }),
      fc.integer({ min: 2 * PAGES_PER_OBJECT - 3, max: 3 * PAGES_PER_OBJECT + 3 }),
    );
    const cache = makeCache('zcache by lru and lz4-napi');
    const zero = Buffer.alloc(PAGE);
    const places = fc.array(place, { maxLength: 30 });
    const verb = fc.constantFrom('flush', 'flushInTurns');
    await fc.assert(
      fc.asyncProperty(places, place, place, verb, async (pages, one, other, how) => {
        const [first, end] = [Math.min(one, other), Math.max(one, other)];
        for (const page of pages) cache.put(page, zero, 0);
        await cache[how](first, end - first);
        for (const page of pages) expect(cache.has(page)).toBe(page < first || page >= end);
        for (const object of cache.pool.objects()) cache.pool.flushObject(object);
        expect(pages.some((page) => cache.has(page))).toBe(false);
      }),
    );
  });

  it('drops a long range in turns, and lists none of an object that it has a part of', async () => {
    const cache = makeCache('hot over zcache', 2 ** 26);
    const zero = Buffer.alloc(PAGE);
    const [first, end] = [PAGES_PER_OBJECT - 600, 2 * PAGES_PER_OBJECT + 600];
    for (let page = first; page < end; page++) cache.put(page, zero, 0);
    const held = () => {
      let count = 0;
      for (let page = first; page < end; page++) if (cache.has(page)) count++;
      return count;
    };
    expect(held()).toBe(end - first);
    const listed = vi.spyOn(cache.pool, 'indexesOf');
    const turns = await turnsWhile(() => cache.flushInTurns(first + 100, end - first - 200));
    const slices = Math.floor((end - first - 200) / 256);
    expect(turns).toBeGreaterThanOrEqual(slices);
    expect(turns).toBeLessThan(2 * slices);
    expect(listed.mock.calls).toEqual([[1]]);
    expect(held()).toBe(200);
    expect([cache.has(first + 99), cache.has(end - 100)]).toEqual([true, true]);
  });

  it('lends what lies in the hot layer, and counts it as a hit once it will be sent', () => {
    const cache = makeCache('hot over zcache');
    const page = pageOf(PAGE, 'random', 1);
    cache.put(PAGES_PER_OBJECT + 7, page, 0);
    expect(cache.lend(7)).toBe(NO_LOAN);
    const loan = cache.lend(PAGES_PER_OBJECT + 7);
    const { lender } = cache;
    if (lender === undefined || loan === NO_LOAN) expect.fail('not lent');
    cache.flush(0, 2 * PAGES_PER_OBJECT);
    const offset = lender.loanOffset(loan);
    expect(
      lender
        .loanBuffer(loan)
        .subarray(offset, offset + PAGE)
        .equals(page),
    ).toBe(true);
    lender.returnLoan(loan);
    expect(() => lender.returnLoan(loan)).toThrow('not lent');
    expect([cache.hits, cache.misses]).toEqual([0, 0]);
    cache.countLent(1);
    expect([cache.hits, cache.misses]).toEqual([1, 0]);
  });

  it('lends nothing over layers that can not', () => {
    const cache = makeCache('zcache by s3fifo-cw and native lz4');
    cache.put(0, pageOf(PAGE, 'random', 1), 0);
    expect(cache.lend(0)).toBe(NO_LOAN);
    expect(cache.hits).toBe(0);
  });
});
