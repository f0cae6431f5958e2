import { describe, expect, test } from 'vitest';
import {
  DIRTY_PAGE_METADATA_BYTES,
  DirtyPages,
  dirtyObjectBytes,
} from '../../../src/export/pages/dirty-pages.ts';
import { NO_SLOT } from '../../../src/tmem/page-index.ts';

/** A table in which the pages were written in this order, a millisecond apart. */
function written(...pages: number[]): DirtyPages {
  const table = new DirtyPages(64);
  for (const [ms, page] of pages.entries()) table.mark(page, ms);
  return table;
}

function inOrder(table: DirtyPages, first: number, next: (slot: number) => number): number[] {
  const pages: number[] = [];
  for (let slot = first; slot !== NO_SLOT; slot = next(slot)) pages.push(table.pageOf(slot));
  return pages;
}

const byAge = (table: DirtyPages) => inOrder(table, table.oldest, (slot) => table.nextOldest(slot));
const byUse = (table: DirtyPages) =>
  inOrder(table, table.coldest, (slot) => table.nextColdest(slot));

/** A writer takes the page; answers how to end that. */
function take(table: DirtyPages, page: number) {
  const slot = table.find(page);
  const version = table.versionOf(slot);
  table.beginWrite(slot);
  return { slot, end: () => table.endWrite(slot, version), fail: () => table.failWrite(slot) };
}

describe('the order of dirty pages', () => {
  test('by age is that of the first write, by use that of the last', () => {
    const table = written(5, 3, 9, 5);
    expect(byAge(table)).toEqual([5, 3, 9]);
    expect(byUse(table)).toEqual([3, 9, 5]);
    expect(table.dirtySince(table.oldest)).toBe(0);
  });

  test('leaves out what is under way, which is dirty all the same', () => {
    const table = written(1, 2, 3);
    take(table, 2);
    expect([byAge(table), byUse(table)]).toEqual([
      [1, 3],
      [1, 3],
    ]);
    expect([table.count, table.queuedCount, table.writingCount]).toEqual([3, 2, 1]);
  });

  test('leaves none out of the oldest of all, be it waiting, under way or refused', () => {
    const table = written(1, 2, 3);
    const first = take(table, 1);
    expect(table.oldestSince).toBe(0);
    first.fail();
    expect(table.oldestSince).toBe(0);
    table.retry();
    expect(table.oldestSince).toBe(0);
    take(table, 1).end();
    expect(table.oldestSince).toBe(1);
    for (const page of [2, 3]) table.drop(page);
    expect(table.oldestSince).toBe(Number.POSITIVE_INFINITY);
  });

  test('names pages anywhere on a large disk', () => {
    const far = 2 ** 40 + 16_384;
    const table = written(far, 0);
    expect(byAge(table)).toEqual([far, 0]);
    table.drop(0);
    const slots = Array.from({ length: table.slotCount }, (_, slot) => table.pageIn(slot));
    expect(slots).toEqual([far, -1]);
    expect(table.has(far - 1)).toBe(false);
  });
});

describe('a page that is written again while it is under way', () => {
  test('is not taken a second time before the first has ended', () => {
    const table = written(1);
    const first = take(table, 1);
    table.mark(1, 10);
    expect(table.isQueued(first.slot)).toBe(false);
    expect(() => table.beginWrite(first.slot)).toThrow(/taken/);
    expect(first.end()).toBe(false);
    expect(byAge(table)).toEqual([1]);
    expect(table.dirtySince(first.slot)).toBe(10);
    expect(take(table, 1).end()).toBe(true);
    expect(table.count).toBe(0);
  });

  test('is not dropped', () => {
    const table = written(1);
    take(table, 1);
    expect(() => table.drop(1)).toThrow(/in flight/);
  });
});

describe('a barrier', () => {
  test('waits for the pages that are dirty when it begins, and no others', () => {
    const table = written(1, 2);
    const first = take(table, 1);
    table.beginBarrier();
    table.mark(3, 9);
    expect([table.owedCount, table.isOwed(table.find(3))]).toEqual([2, false]);
    take(table, 3).end();
    expect(table.owedCount).toBe(2);
    first.end();
    take(table, 2).end();
    expect(table.owedCount).toBe(0);
  });

  test('waits for both versions of a page that was rewritten before it began', () => {
    const table = written(1);
    const first = take(table, 1);
    table.mark(1, 5);
    table.beginBarrier();
    first.end();
    expect(table.owedCount).toBe(1);
    take(table, 1).end();
    expect(table.owedCount).toBe(0);
  });

  test('waits for a page that was rewritten before it began and again since', () => {
    const table = written(1);
    const first = take(table, 1);
    table.mark(1, 5);
    table.beginBarrier();
    table.mark(1, 6);
    first.end();
    expect([table.owedCount, table.dirtySince(first.slot)]).toEqual([1, 5]);
    take(table, 1).end();
    expect([table.owedCount, table.count]).toEqual([0, 0]);
  });

  test('does not wait for a page that fails, though it was rewritten before', () => {
    const table = written(1);
    const first = take(table, 1);
    table.mark(1, 5);
    table.beginBarrier();
    first.fail();
    expect([table.owedCount, table.failedCount, table.troubledCount]).toEqual([0, 1, 1]);
    table.retry();
    take(table, 1).end();
    expect([table.owedCount, table.count, table.troubledCount]).toEqual([0, 0, 0]);
  });

  test('does not wait for a version that came after it', () => {
    const table = written(1);
    const first = take(table, 1);
    table.beginBarrier();
    table.mark(1, 5);
    first.end();
    expect([table.owedCount, table.count]).toEqual([0, 1]);
  });

  test('waits for a page whose first write since is newer: it is still not on the image', () => {
    const table = written(1);
    table.beginBarrier();
    table.mark(1, 5);
    expect(table.owedCount).toBe(1);
    take(table, 1).end();
    expect(table.owedCount).toBe(0);
  });

  test('counts a page once, whether it fails, is lost, tried again or dropped', () => {
    const table = written(1, 2, 3, 4);
    table.beginBarrier();
    take(table, 1).fail();
    expect(table.owedCount).toBe(3);
    table.retry();
    take(table, 1).end();
    expect(table.owedCount).toBe(3);
    table.markLost(table.find(2));
    table.markLost(table.find(2));
    expect([table.owedCount, table.lossCount]).toEqual([2, 1]);
    table.mark(2, 9);
    take(table, 2).end();
    table.drop(3);
    expect([table.owedCount, table.lostCount]).toEqual([1, 0]);
  });

  test('expects nothing of pages that failed or were lost before', () => {
    const table = written(1, 2, 3);
    take(table, 1).fail();
    table.markLost(table.find(2));
    table.beginBarrier();
    expect(table.owedCount).toBe(1);
  });
});

describe('a page that the image refused', () => {
  test('waits until it is tried again, then goes before all others, as old as it was', () => {
    const table = written(1, 2, 3);
    take(table, 2).fail();
    table.mark(2, 50);
    expect([byAge(table), table.failedCount]).toEqual([[1, 3], 1]);
    table.retry();
    expect([byAge(table), table.failedCount]).toEqual([[2, 1, 3], 0]);
    expect(table.isRetried(table.oldest)).toBe(true);
    expect(table.dirtySince(table.oldest)).toBe(1);
  });

  test('is a trouble until the image has it', () => {
    const table = written(1);
    take(table, 1).fail();
    table.retry();
    const again = take(table, 1);
    expect(table.troubledCount).toBe(1);
    again.end();
    expect(table.troubledCount).toBe(0);
  });
});

describe('a page that was lost', () => {
  test('stays, but is not taken, until it is written again', () => {
    const table = written(1);
    table.markLost(table.find(1));
    expect([table.has(1), table.lostCount, table.queuedCount]).toEqual([true, 1, 0]);
    table.mark(1, 7);
    expect([table.lostCount, table.queuedCount]).toEqual([0, 1]);
  });

  test('while it is under way is clean when that ends well', () => {
    const table = written(1);
    const first = take(table, 1);
    table.markLost(first.slot);
    expect(first.end()).toBe(true);
    expect([table.count, table.lostCount]).toEqual([0, 0]);
  });

  test('while an older version is under way is lost whatever becomes of that', () => {
    for (const how of ['end', 'fail'] as const) {
      const table = written(1, 2);
      const first = take(table, 1);
      table.mark(1, 5);
      table.beginBarrier();
      table.markLost(first.slot);
      first[how]();
      expect(table.owedCount).toBe(1);
      table.drop(2);
      expect([table.isLost(first.slot), table.queuedCount, table.failedCount]).toEqual([
        true,
        0,
        0,
      ]);
    }
  });
});

test('the table throws rather than hold more than it was made for', () => {
  const table = new DirtyPages(2);
  table.mark(1, 0);
  table.mark(2, 0);
  expect(() => table.mark(3, 0)).toThrow(/full/);
  table.mark(1, 1);
  expect(table.count).toBe(2);
});

test('nor does it take more memory than is set aside for it, wherever the pages are', () => {
  const diskPages = 2 ** 28;
  for (const stride of [1, 400, 2 ** 18]) {
    const table = new DirtyPages(1025);
    for (let i = 0; i < table.capacity; i++) {
      table.mark((i * stride) % diskPages, 0);
      expect(table.metadataBytes).toBeGreaterThan(table.count * 49); // what it has for each slot
      expect(table.metadataBytes).toBeLessThanOrEqual(
        table.capacity * DIRTY_PAGE_METADATA_BYTES + dirtyObjectBytes(diskPages),
      );
    }
  }
});
