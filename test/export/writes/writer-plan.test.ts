import { describe, expect, test } from 'vitest';
import { DirtyPages } from '../../../src/export/pages/dirty-pages.ts';
import { DirtyRoom } from '../../../src/export/writes/dirty-room.ts';
import { PageLocks } from '../../../src/export/writes/page-locks.ts';
import { WriterPlan, type WriterTuning } from '../../../src/export/writes/writer-plan.ts';
import { TurnedClock } from '../turned-clock.ts';

const AGE_MS = 5000;
const PLAN_PAGES = 512;

/** A plan over a table of so many pages, from whose choices the test takes what a writer would. */
function given(capacity: number, tuning: Partial<WriterTuning> = {}) {
  const table = new DirtyPages(capacity);
  const clock = new TurnedClock();
  const locks = new PageLocks();
  const room = new DirtyRoom({ table, clock, kick: () => undefined, canProgress: () => true });
  const underWay = new Set<number>();
  const plan = new WriterPlan({
    ...{ table, clock, locks, room },
    tuning: {
      ...{ ageMsMax: AGE_MS, highFraction: 0.9, lowFraction: 0.75, closesGaps: true },
      ...tuning,
    },
    isUnderWay: (page) => underWay.has(page),
  });
  const dirty = (...pages: number[]): void => {
    for (const page of pages) table.mark(page, clock.now());
  };
  const write = (page: number, isRefused = false): void => {
    const slot = table.find(page);
    const version = table.versionOf(slot);
    table.beginWrite(slot);
    if (isRefused) table.failWrite(slot);
    else table.endWrite(slot, version);
  };
  /** What it would have written one after another, the writes ending at once. */
  const takeAll = (isFlushing = false, isIdle = true): number[] => {
    const taken: number[] = [];
    for (;;) {
      const page = plan.next(isFlushing && table.owedCount > 0, isIdle);
      if (page < 0) return taken;
      write(page);
      taken.push(page);
    }
  };
  return { table, clock, locks, room, underWay, plan, dirty, write, takeAll };
}

const range = (first: number, end: number) =>
  Array.from({ length: end - first }, (_, i) => first + i);

describe('a writer takes', () => {
  test('what has been dirty for too long, in the order of the image, and nothing younger', () => {
    const { clock, dirty, takeAll } = given(100);
    dirty(9, 3);
    clock.turn(1);
    dirty(1);
    clock.turn(AGE_MS - 2);
    expect(takeAll()).toEqual([]);
    clock.turn(1);
    expect(takeAll()).toEqual([3, 9]);
    clock.turn(1);
    expect(takeAll()).toEqual([1]);
  });

  test('what the image refused as soon as it may be tried again', () => {
    const { table, dirty, write, takeAll } = given(100);
    dirty(5, 4, 6);
    write(5, true);
    write(4, true);
    expect(takeAll()).toEqual([]);
    table.retry();
    expect(takeAll()).toEqual([4, 5]);
  });

  test('what a FLUSH waits for, and nothing that was written after it', () => {
    const { table, dirty, takeAll } = given(100);
    dirty(8, 2);
    table.beginBarrier();
    dirty(1, 2);
    expect(takeAll(true)).toEqual([2, 8]);
    expect(takeAll()).toEqual([]);
  });

  test('what a FLUSH waits for, though it is queued behind newer ones, once nothing is under way', () => {
    const { table, plan, dirty } = given(100);
    dirty(8);
    const slot = table.find(8);
    const version = table.versionOf(slot);
    table.beginWrite(slot);
    dirty(8);
    dirty(1);
    table.beginBarrier();
    dirty(3);
    table.drop(1);
    dirty(1); // newer than the barrier, and first in the queue
    table.endWrite(slot, version); // 8 is queued again, behind it
    expect(table.owedCount).toBe(1);
    expect(plan.next(true, false)).toBe(-1);
    expect(plan.next(false, true)).toBe(-1);
    expect([plan.next(true, true), plan.next(true, true), plan.next(true, true)]).toEqual([
      1, 3, 8,
    ]);
  });

  test('what was written longest ago, from nine tenths of the limit down to three quarters', () => {
    const { plan, dirty, takeAll } = given(100);
    dirty(...range(0, 89).reverse());
    expect([plan.isHigh, takeAll()]).toEqual([false, []]);
    dirty(88, 95); // 88 was written again
    expect(plan.isHigh).toBe(true);
    expect(takeAll()).toEqual(range(73, 88));
    dirty(...range(80, 90));
    expect([plan.isMakingRoom, takeAll()]).toEqual([false, []]);
  });

  test('no more to make room than is not on its way already', () => {
    const { table, plan, dirty } = given(100);
    dirty(...range(0, 92));
    for (const page of range(0, 10)) table.beginWrite(table.find(page));
    const taken: number[] = [];
    for (let page = plan.next(false, false); page >= 0; page = plan.next(false, false)) {
      table.beginWrite(table.find(page));
      taken.push(page);
      expect(plan.isMakingRoom).toBe(true);
    }
    expect(taken).toEqual(range(10, 17)); // 75 stay
  });

  test('as many as those who wait for room lack, however few are dirty', async () => {
    const { room, plan, dirty, takeAll } = given(100, { highFraction: 1.5 });
    dirty(...range(0, 99));
    expect(takeAll()).toEqual([]);
    const entered = room.enter(200, 4);
    expect(plan.isMakingRoom).toBe(true);
    expect(takeAll()).toEqual([0, 1, 2]);
    room.letIn();
    expect(await entered).toBe(4);
    expect([plan.isMakingRoom, takeAll()]).toEqual([false, []]);
  });

  test('nothing to make room where that is not wanted, but what is too old', () => {
    const { room, clock, plan, dirty, takeAll } = given(10, { highFraction: Infinity });
    dirty(...range(0, 10));
    void room.enter(20, 2);
    expect([plan.canMakeRoom, takeAll()]).toEqual([false, []]);
    clock.turn(AGE_MS);
    expect(takeAll()).toEqual(range(0, 10));
    expect(given(10).plan.canMakeRoom).toBe(true);
  });

  test('some hundreds at a time in the order of the image, the oldest first', () => {
    const { clock, dirty, takeAll } = given(2000, { highFraction: 2 });
    dirty(...range(0, 1200).reverse());
    clock.turn(AGE_MS);
    const [first, second] = [1200 - PLAN_PAGES, 1200 - 2 * PLAN_PAGES];
    expect(takeAll()).toEqual([
      ...range(first, 1200),
      ...range(second, first),
      ...range(0, second),
    ]);
  });

  test('some hundreds at a time too of those that are to make room', () => {
    const { dirty, takeAll } = given(4000);
    dirty(...range(0, 3600).reverse());
    const first = 3600 - PLAN_PAGES;
    expect(takeAll()).toEqual([...range(first, 3600), ...range(3000, first)]);
  });

  test('others to make room where those written longest ago are being changed', () => {
    const { locks, plan, dirty } = given(10, { highFraction: 0.9, lowFraction: 0.8 });
    dirty(...range(0, 9));
    locks.take(0, 3);
    expect(plan.next(false, true)).toBe(3);
  });
});

describe('a writer leaves', () => {
  test('what somebody changes, or what is in a write of the image, until that has ended', () => {
    const { clock, locks, underWay, plan, table, dirty, takeAll } = given(100);
    dirty(1, 2, 3, 4);
    clock.turn(AGE_MS);
    const lock = locks.take(2, 1);
    underWay.add(3);
    expect([1, 2, 3, 4, 5].map((page) => plan.takeable(page) === table.find(page))).toEqual([
      ...[true, false, false, true, true],
    ]);
    expect(takeAll()).toEqual([1, 4]);
    locks.release(lock);
    underWay.clear();
    expect(takeAll()).toEqual([2, 3]);
  });

  test('what was chosen and is locked, clean or under way by then', () => {
    const { clock, locks, table, plan, dirty, takeAll } = given(100);
    dirty(...range(0, 6));
    clock.turn(AGE_MS);
    expect(plan.next(false, true)).toBe(0);
    table.beginWrite(table.find(1));
    table.drop(2);
    locks.take(3, 1);
    expect(plan.next(false, true)).toBe(4);
    plan.putBack(4);
    expect(plan.next(false, true)).toBe(4);
    expect(takeAll()).toEqual([5, 0, 4]);
  });

  test('what was chosen for a FLUSH when that needs it no more', () => {
    const { table, plan, dirty } = given(100);
    dirty(1, 2, 3);
    table.beginBarrier();
    expect(plan.next(true, true)).toBe(1);
    plan.clear();
    expect(plan.next(false, true)).toBe(-1);
  });
});
