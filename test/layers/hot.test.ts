import { describe, expect, it } from 'vitest';
import { loadCodec } from '../../src/layers/codec.ts';
import { Hot } from '../../src/layers/hot.ts';
import { Zcache } from '../../src/layers/zcache.ts';
import { LruFamily } from '../../src/policy/lru.ts';
import { policyFactoryFor } from '../../src/policy/policies.ts';
import type { PolicyFactory } from '../../src/policy/policy.ts';
import { Account } from '../../src/tmem/account.ts';
import { HIT, RAW, REPLACED, STORED } from '../../src/tmem/layer.ts';
import { NO_LOAN } from '../../src/tmem/lender.ts';
import { pageOf } from '../tmem/page-content.ts';

const PAGE = 4096;
const EPHEMERAL = 1;
const PERSISTENT = 2;
const LARGE = 3;
const dst = Buffer.alloc(65536);

interface Sizes {
  readonly hotBytes?: number;
  readonly zcacheBytes?: number;
  readonly promoteOneIn?: number;
  readonly mayAllocate?: () => boolean;
  readonly policy?: PolicyFactory;
}

function make(sizes: Sizes = {}) {
  const { hotBytes = 2 ** 20, zcacheBytes = 2 ** 22, promoteOneIn = 1 } = sizes;
  const { mayAllocate = () => true } = sizes;
  const { policy = policyFactoryFor('lru') } = sizes;
  const pageBytesMax = 65536;
  const next = new Zcache({ limitBytes: zcacheBytes, pageBytesMax, codec: loadCodec(), policy });
  const options = { limitBytes: hotBytes, pageBytesMax, policy, next, promoteOneIn, mayAllocate };
  const hot = new Hot(options);
  const account = new Account({ name: 'tested' });
  hot.createPool({ id: EPHEMERAL, isPersistent: false, pageBytes: PAGE, account });
  hot.createPool({ id: PERSISTENT, isPersistent: true, pageBytes: PAGE, account });
  hot.createPool({ id: LARGE, isPersistent: false, pageBytes: 65536, account });
  return { hot, next, account };
}

function put(hot: Hot, pool: number, index: number, version = index): number {
  const page = pageOf(pool === LARGE ? 65536 : PAGE, 'half', version);
  return hot.put(pool, 0, index, RAW, page, 0, page.length);
}

function expectPage(hot: Hot, pool: number, index: number, version = index): void {
  expect(hot.get(pool, 0, index, dst, 0)).toBe(HIT);
  const bytes = pool === LARGE ? 65536 : PAGE;
  expect(dst.subarray(0, bytes).equals(pageOf(bytes, 'half', version))).toBe(true);
}

describe('hot', () => {
  it('encodes a page when it leaves, and only if it is not below already', () => {
    const { hot, next } = make();
    for (let i = 0; i < 200; i++) put(hot, EPHEMERAL, i);
    expect(next.statistics.originalBytes).toBe(0);
    for (let i = 200; i < 400; i++) put(hot, EPHEMERAL, i);
    const encoded = next.statistics.originalBytes / PAGE;
    expect(encoded).toBe(hot.statistics.evictedForCapacity);
    expect(encoded).toBe(hot.statistics.pushedDown);
    // Those that were pushed down come up again, and leave a second time: nothing is encoded.
    for (let i = 0; i < encoded; i++) expectPage(hot, EPHEMERAL, i);
    for (let i = 0; i < encoded; i++) expectPage(hot, EPHEMERAL, i);
    expect(hot.statistics.promoted).toBeGreaterThan(100);
    for (let i = 0; i < 400; i++) expectPage(hot, EPHEMERAL, i);
    const onceMore = next.statistics.originalBytes / PAGE - encoded;
    expect(onceMore).toBeLessThanOrEqual(400 - encoded);
  });

  it('copies no page up when it is told not to', () => {
    const { hot } = make({ promoteOneIn: 0 });
    for (let i = 0; i < 400; i++) put(hot, EPHEMERAL, i);
    for (let i = 0; i < 400; i++) expectPage(hot, EPHEMERAL, i);
    expect(hot.statistics.promoted).toBe(0);
  });

  it('copies up pages of every size, but none that repeats four bytes, and none while frozen', () => {
    const { hot, next } = make();
    const pages = [
      { pool: EPHEMERAL, page: pageOf(PAGE, 'half', 0) },
      { pool: LARGE, page: pageOf(65536, 'half', 0) },
      { pool: PERSISTENT, page: pageOf(PAGE, 'filled', 0) },
    ];
    for (const { pool, page } of pages) next.put(pool, 0, 0, RAW, page, 0, page.length);
    const readAll = () => {
      for (const { pool } of pages) expect(hot.get(pool, 0, 0, dst, 0)).toBe(HIT);
      return hot.usage().rawPages;
    };
    hot.isFrozen = true;
    expect(readAll()).toBe(0);
    hot.isFrozen = false;
    expect(readAll()).toBe(2);
    expect(hot.statistics.promoted).toBe(2);
  });

  it('counts a page that is here and below once when it is flushed', () => {
    const { hot } = make();
    for (let i = 0; i < 400; i++) put(hot, EPHEMERAL, i);
    for (let i = 0; i < 400; i++) expectPage(hot, EPHEMERAL, i);
    expect(hot.statistics.promoted).toBeGreaterThan(0);
    expect(hot.flushObject(EPHEMERAL, 0)).toBe(400);
    for (let i = 0; i < 400; i++) put(hot, EPHEMERAL, i);
    for (let i = 0; i < 400; i++) expectPage(hot, EPHEMERAL, i);
    expect(hot.destroyPool(EPHEMERAL)).toBe(400);
  });

  it('gives memory back that persistent pages below and above do not need', () => {
    const { hot, next } = make({ zcacheBytes: 2 ** 17 });
    for (let i = 0; i < 240; i++) put(hot, i % 4 === 0 ? EPHEMERAL : PERSISTENT, i);
    const total = () =>
      [hot, next].reduce(
        (sum, layer) => sum + layer.usage().dataBytes + layer.usage().metadataBytes,
        0,
      );
    const held = Array.from({ length: 240 }, (_, i) => i).filter((i) => hot.has(PERSISTENT, 0, i));
    const before = total();
    const freed = hot.shrink(100_000);
    expect(freed).toBeGreaterThanOrEqual(100_000);
    expect(before - total()).toBe(freed);
    for (const i of held) expectPage(hot, PERSISTENT, i);
  });

  it('gives memory back that persistent pages take whose copies are below', () => {
    const { hot, next } = make();
    for (let i = 0; i < 400; i++) put(hot, PERSISTENT, i);
    for (let i = 0; i < 400; i++) expectPage(hot, PERSISTENT, i); // those below are copied up
    const onlyHere = Array.from({ length: 400 }, (_, i) => i).filter(
      (i) => !next.has(PERSISTENT, 0, i),
    );
    expect(hot.shrink(Number.POSITIVE_INFINITY)).toBeGreaterThan(100 * PAGE);
    expect(hot.usage().rawPages).toBe(onlyHere.length);
    for (let i = 0; i < 400; i++) expectPage(hot, PERSISTENT, i);
  });

  it('looks at a bounded number of pages when it is to shrink and can not', () => {
    let victims = 0;
    const policy: PolicyFactory = (options) => {
      const family = new LruFamily(options);
      const create = () => {
        const lru = family.create();
        const evict = lru.evict.bind(lru);
        lru.evict = () => {
          victims++;
          return evict();
        };
        return lru;
      };
      return { metadataBytes: 0, create };
    };
    const { hot } = make({ hotBytes: 2 ** 24, zcacheBytes: 0, policy });
    for (let i = 0; i < 3000; i++) put(hot, PERSISTENT, i);
    for (let calls = 0; calls < 5; calls++) {
      const before = victims;
      expect(hot.shrink(4096)).toBeLessThanOrEqual(0);
      expect(victims - before).toBeGreaterThan(0);
      expect(victims - before).toBeLessThan(150);
    }
    for (let i = 0; i < 3000; i++) expectPage(hot, PERSISTENT, i);
  });

  it('makes room for ephemeral pages behind persistent ones that can not leave', () => {
    const { hot } = make({ zcacheBytes: 0 });
    let count = 0;
    for (; count < 200; count++) put(hot, count < 5 ? PERSISTENT : EPHEMERAL, count);
    for (; count < 400; count++) put(hot, EPHEMERAL, count);
    expect(hot.has(EPHEMERAL, 0, 399)).toBe(true);
    for (let i = 0; i < 5; i++) expectPage(hot, PERSISTENT, i);
  });

  it('lends a page that keeps its bytes until every loan of it is returned', () => {
    const { hot } = make({ zcacheBytes: 0 });
    put(hot, EPHEMERAL, 0, 1);
    const loans = [1, 2, 3].map(() => hot.lend(EPHEMERAL, 0, 0));
    expect(new Set(loans).size).toBe(1);
    const [loan = NO_LOAN] = loans;
    put(hot, EPHEMERAL, 0, 2);
    expectPage(hot, EPHEMERAL, 0, 2);
    for (let i = 1; i < 600; i++) put(hot, EPHEMERAL, i);
    hot.destroyPool(EPHEMERAL);
    hot.shrink(Number.POSITIVE_INFINITY);
    const offset = hot.loanOffset(loan);
    const lent = hot.loanBuffer(loan).subarray(offset, offset + PAGE);
    for (const each of loans) {
      expect(lent.equals(pageOf(PAGE, 'half', 1))).toBe(true);
      expect(hot.usage().dataBytes).toBeGreaterThan(0);
      hot.returnLoan(each);
    }
    expect(hot.usage().dataBytes).toBe(0);
    expect(() => hot.returnLoan(loan)).toThrow('not lent');
  });

  it('compacts around a lent page, so that pages of another size find room', () => {
    const { hot } = make({ zcacheBytes: 0 });
    for (let i = 0; i < 200; i++) put(hot, EPHEMERAL, i);
    const kept = hot.lend(EPHEMERAL, 0, 100);
    for (let i = 0; i < 200; i++) if (i % 3 !== 1) hot.flushPage(EPHEMERAL, 0, i);
    for (let i = 0; i < 8; i++) put(hot, LARGE, i);
    for (let i = 0; i < 8; i++) expectPage(hot, LARGE, i);
    expect(hot.statistics.evictedForCapacity).toBe(0);
    const offset = hot.loanOffset(kept);
    const lent = hot.loanBuffer(kept).subarray(offset, offset + PAGE);
    expect(lent.equals(pageOf(PAGE, 'half', 100))).toBe(true);
    hot.returnLoan(kept);
  });

  it('overwrites a page in its place, without memory, also while frozen, and drops the copy below', () => {
    let mayAllocate = true;
    const { hot, next } = make({ mayAllocate: () => mayAllocate });
    for (let i = 0; i < 400; i++) put(hot, PERSISTENT, i);
    for (let i = 0; i < 40; i++) expectPage(hot, PERSISTENT, i); // these come up again
    const before = { ...hot.statistics };
    const pushedDown = next.statistics.puts[STORED];
    mayAllocate = false;
    hot.isFrozen = true;
    const held = hot.usage();
    for (let i = 0; i < 40; i++) expect(put(hot, PERSISTENT, i, 1000 + i)).toBe(REPLACED);
    expect(hot.usage()).toEqual(held);
    expect(next.statistics.puts[STORED]).toBe(pushedDown);
    expect(hot.statistics.evictedForCapacity).toBe(before.evictedForCapacity);
    for (let i = 0; i < 40; i++) {
      expect(next.has(PERSISTENT, 0, i)).toBe(false);
      expectPage(hot, PERSISTENT, i, 1000 + i);
    }
  });

  it('moves a page over an older one that lies in the other layer', () => {
    const { hot, next } = make({ promoteOneIn: 0 });
    const stays = (pool: number) => {
      put(hot, pool, 0, 100 + pool); // in hot, as nothing follows it
      expect(next.has(pool, 0, 0)).toBe(false);
    };
    const sinks = (pool: number) => {
      put(hot, pool, 0, 100 + pool);
      for (let i = 1; i < 400; i++) put(hot, EPHEMERAL, i);
      expect(next.has(pool, 0, 0)).toBe(true);
      expect(hot.lend(pool, 0, 0)).toBe(NO_LOAN);
    };
    for (const [older, newer] of [
      [stays, sinks],
      [sinks, stays],
    ] as const) {
      // What stays is put last, whichever of the two it is.
      if (older === sinks) older(EPHEMERAL);
      newer(PERSISTENT);
      if (older === stays) older(EPHEMERAL);
      expect(hot.transfer(PERSISTENT, EPHEMERAL, 0, 0)).toBe(true);
      expectPage(hot, EPHEMERAL, 0, 100 + PERSISTENT);
      expect(hot.has(PERSISTENT, 0, 0)).toBe(false);
      for (let i = 1; i < 400; i++) put(hot, EPHEMERAL, i); // it goes below, over nothing older
      expectPage(hot, EPHEMERAL, 0, 100 + PERSISTENT);
      expect(hot.flushPage(EPHEMERAL, 0, 0)).toBe(true);
      expect(hot.has(EPHEMERAL, 0, 0)).toBe(false);
    }
  });

  it('has no older page of the new name when the page below found no room for that', () => {
    const { hot, next } = make({ promoteOneIn: 0 });
    put(hot, PERSISTENT, 0);
    for (let i = 1; i < 400; i++) put(hot, EPHEMERAL, i);
    expect(next.has(PERSISTENT, 0, 0)).toBe(true);
    put(hot, EPHEMERAL, 0, 1000);
    next.flushObject(EPHEMERAL, 0);
    next.setLimit(0);
    expect(hot.transfer(PERSISTENT, EPHEMERAL, 0, 0)).toBe(false);
    expect(hot.has(EPHEMERAL, 0, 0)).toBe(false);
    expectPage(hot, PERSISTENT, 0);
  });

  it('leaves no copy below under the old name when there is no room for the new one there', () => {
    const { hot, next } = make();
    put(hot, PERSISTENT, 0);
    for (let i = 1; i < 400; i++) put(hot, EPHEMERAL, i);
    expect(next.has(PERSISTENT, 0, 0)).toBe(true);
    expectPage(hot, PERSISTENT, 0); // copied up; the copy below stays
    expect(hot.lend(PERSISTENT, 0, 0)).not.toBe(NO_LOAN);
    hot.returnLoan(hot.lend(PERSISTENT, 0, 0));
    next.flushObject(EPHEMERAL, 0);
    next.setLimit(0);
    expect(hot.transfer(PERSISTENT, EPHEMERAL, 0, 0)).toBe(true);
    expectPage(hot, EPHEMERAL, 0);
    expect(next.has(PERSISTENT, 0, 0)).toBe(false);
    expect(next.usage().persistentBytes).toBe(0);
  });

  it('leaves no copy here under the old name when there is no room for the new one here', () => {
    const { hot, next } = make();
    put(hot, PERSISTENT, 0);
    for (let i = 1; i < 400; i++) put(hot, EPHEMERAL, i);
    expectPage(hot, PERSISTENT, 0); // copied up; the copy below stays
    hot.flushObject(EPHEMERAL, 0);
    hot.setLimit(0);
    expect(hot.transfer(PERSISTENT, EPHEMERAL, 0, 0)).toBe(true);
    expectPage(hot, EPHEMERAL, 0);
    expect([hot.has(PERSISTENT, 0, 0), next.has(EPHEMERAL, 0, 0)]).toEqual([false, true]);
    expect([hot.usage().rawPages, hot.usage().persistentBytes]).toEqual([0, 0]);
  });

  it('gives back about as much memory as it is asked for, its layers together', () => {
    const { hot, next } = make({ hotBytes: 2 ** 22, promoteOneIn: 0 });
    for (let i = 0; i < 2500; i++) put(hot, EPHEMERAL, i);
    for (const layer of [hot, next]) expect(layer.usage().dataBytes).toBeGreaterThan(2 ** 21);
    const freed = hot.shrink(2 ** 20);
    expect(freed).toBeGreaterThanOrEqual(2 ** 20);
    expect(freed).toBeLessThan(1.2 * 2 ** 20);
  });

  it('asks another account for room when the first has only pages that can not leave', () => {
    const { hot, account } = make({ zcacheBytes: 0 });
    const other = new Account({ name: 'other' });
    hot.createPool({ id: 9, isPersistent: true, pageBytes: PAGE, account: other });
    for (let i = 0; i < 150; i++) expect(put(hot, 9, i)).toBe(STORED);
    for (let i = 0; i < 300; i++) expect(put(hot, EPHEMERAL, i)).toBe(STORED);
    expect(other.usedBytes).toBeGreaterThan(account.usedBytes);
    for (let i = 0; i < 150; i++) expectPage(hot, 9, i);
  });

  it('lends what is here only, and no page to more readers than it can count', () => {
    const { hot } = make();
    expect(hot.lend(EPHEMERAL, 0, 0)).toBe(NO_LOAN);
    put(hot, EPHEMERAL, 0);
    const loans = Array.from({ length: 1001 }, () => hot.lend(EPHEMERAL, 0, 0));
    expect(loans.filter((loan) => loan !== NO_LOAN)).toHaveLength(1000);
    expect(hot.statistics.hits).toBe(0);
    hot.countLent(1000);
    expect(hot.statistics.hits).toBe(1000);
    for (const loan of loans) if (loan !== NO_LOAN) hot.returnLoan(loan);
    expect(hot.lend(EPHEMERAL, 0, 0)).not.toBe(NO_LOAN);
  });
});
