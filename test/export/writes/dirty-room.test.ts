import { describe, expect, test } from 'vitest';
import { DirtyPages } from '../../../src/export/pages/dirty-pages.ts';
import { DirtyRoom } from '../../../src/export/writes/dirty-room.ts';
import { fc } from '../../tools/seed.ts';
import { TurnedClock } from '../turned-clock.ts';

const CALM_MS = 1000;

/** Room in a table of so many pages, of which the first ones are dirty. */
function given(capacity: number, dirtyCount = 0) {
  const table = new DirtyPages(capacity);
  const clock = new TurnedClock();
  const world = { kicks: 0, canProgress: true };
  const room = new DirtyRoom({
    table,
    clock,
    kick: () => {
      world.kicks++;
    },
    canProgress: () => world.canProgress,
  });
  const dirty = (first: number, count: number): void => {
    for (let page = first; page < first + count; page++) table.mark(page, 0);
  };
  const clean = (first: number, count: number): void => {
    for (let page = first; page < first + count; page++) table.drop(page);
    room.letIn();
  };
  dirty(0, dirtyCount);
  /** By name, what was reserved for those who were let in, in that order. */
  const entered: [string, number][] = [];
  const enter = async (name: string, first: number, count: number): Promise<void> => {
    entered.push([name, await room.enter(first, count)]);
  };
  const turn = () => new Promise(setImmediate);
  return { table, clock, world, room, dirty, clean, entered, enter, turn };
}

describe('the limit', () => {
  test('falls to nine tenths of what was dirty when memory refused a page, not below 256', () => {
    const { room } = given(10_000, 5000);
    expect(room.limitPages).toBe(10_000);
    room.noteRefused();
    expect(room.limitPages).toBe(4500);
    room.noteRefused(); // no wonder: that is for the limit
    expect(room.limitPages).toBe(4500);
    const small = given(10_000, 10);
    small.room.noteRefused();
    expect(small.room.limitPages).toBe(256);
  });

  test('is never raised by a refusal, neither above the table nor above what was asked for', () => {
    const small = given(100, 10);
    small.room.noteRefused();
    expect(small.room.limitPages).toBe(100);
    const capped = given(10_000, 10);
    capped.room.reduceTo(20);
    capped.room.noteRefused();
    expect(capped.room.limitPages).toBe(20);
  });

  test('is lowered by what memory lacks, to 256 at the least, and at once looked at', () => {
    const { room, world } = given(10_000, 5000);
    room.reduce(1000);
    expect([room.limitPages, world.kicks]).toEqual([4000, 1]);
    room.reduce(500); // less than is asked for already
    expect(room.limitPages).toBe(4000);
    room.reduce(4990);
    expect(room.limitPages).toBe(256);
    room.reduceTo(0);
    expect([room.limitPages, world.kicks]).toEqual([1, 4]);
  });

  test('is what was set when what held it down is gone, and those who waited are let in', async () => {
    const { room, entered, enter, turn } = given(1000, 400);
    room.reduceTo(400);
    void enter('late', 500, 10);
    await turn();
    expect(entered).toEqual([]);
    room.restore();
    await turn();
    expect([room.limitPages, entered]).toEqual([1000, [['late', 10]]]);
  });

  test('rises by an eighth after a second of calm, if somebody lacks room', async () => {
    const { room, clock, dirty, enter, entered, turn } = given(1000, 400);
    room.reduceTo(400);
    clock.turn(CALM_MS - 1);
    void enter('early', 500, 1);
    await turn();
    expect([room.limitPages, entered]).toEqual([400, []]);
    clock.turn(1);
    room.letIn();
    await turn();
    expect([room.limitPages, entered]).toEqual([450, [['early', 1]]]);
    room.giveBack(1);
    clock.turn(10 * CALM_MS);
    dirty(400, 50);
    await enter('late', 600, 1);
    expect([room.limitPages, entered.length, room.waitCount]).toEqual([507, 2, 1]);
    room.giveBack(1);
    dirty(450, 57);
    clock.turn(CALM_MS - 1);
    void enter('too soon', 600, 1); // one step a second, however long the calm before
    expect(room.limitPages).toBe(507);
    clock.turn(1);
    room.letIn();
    expect(room.limitPages).toBe(571);
    for (let i = 0; i < 20; i++) {
      clock.turn(CALM_MS);
      dirty(507, room.limitPages - 507);
      void enter('more', 1001 + i, 1);
    }
    expect(room.limitPages).toBe(1000);
  });

  test('rises no sooner than a second after the last refusal', async () => {
    const { room, clock, enter } = given(1000, 400);
    room.reduceTo(600);
    clock.turn(CALM_MS);
    room.noteRefused();
    expect(room.limitPages).toBe(360);
    clock.turn(CALM_MS - 1);
    void enter('early', 500, 1);
    expect(room.limitPages).toBe(360);
    clock.turn(1);
    room.letIn();
    expect(room.limitPages).toBe(405);
  });
});

describe('those who wait', () => {
  test('are let in one after another, and nobody overtakes them', async () => {
    const { room, world, clean, entered, enter, turn } = given(10, 10);
    void enter('large', 20, 4);
    void enter('small', 30, 1);
    expect([room.waitCount, world.kicks, room.lackingPages]).toEqual([2, 2, 4]);
    clean(0, 3);
    await turn();
    expect([entered, room.lackingPages]).toEqual([[], 1]);
    expect(room.has(40, 1)).toBe(false); // there is room, which the first waits for
    expect(room.has(3, 7)).toBe(true); // what is dirty already takes none
    clean(3, 2);
    await turn();
    expect([entered, room.lackingPages]).toEqual([
      [
        ['large', 4],
        ['small', 1],
      ],
      0,
    ]);
    expect(room.has(40, 1)).toBe(false); // what was reserved is as good as dirty
    room.giveBack(4); // refused by memory
    expect(room.has(40, 4)).toBe(true);
    expect(room.has(40, 5)).toBe(false);
  });

  test('go on when what others reserved is given back', async () => {
    const { room, entered, enter, turn } = given(4);
    await enter('first', 0, 4);
    void enter('second', 10, 2);
    await turn();
    expect(entered).toEqual([['first', 4]]);
    room.giveBack(4);
    await turn();
    expect(entered[1]).toEqual(['second', 2]);
  });

  test('wait for those who were let in, though no page can become clean; then for nothing', async () => {
    const { room, world, entered, enter, turn } = given(4);
    world.canProgress = false;
    await enter('first', 0, 4);
    void enter('second', 10, 1);
    await turn();
    expect(entered.length).toBe(1);
    world.canProgress = true;
    room.giveBack(3);
    world.canProgress = false;
    room.letIn();
    await turn();
    expect(entered[1]).toEqual(['second', 1]);
    const full = given(4, 4);
    full.world.canProgress = false;
    await full.enter('in vain', 10, 2);
    expect(full.entered).toEqual([['in vain', 2]]);
  });

  test('for more than the limit are let in alone', async () => {
    const { clean, entered, enter, turn } = given(4, 1);
    void enter('larger', 10, 9);
    await turn();
    expect(entered).toEqual([]);
    clean(0, 1);
    await turn();
    expect(entered).toEqual([['larger', 9]]);
  });
});

test('no more becomes dirty than the table holds; who waits is let in, in the order they came', async () => {
  const does = fc.constantFrom('enter', 'enter', 'end', 'refuse', 'clean', 'reduce', 'calm');
  const steps = fc.array(fc.tuple(does, fc.nat(40), fc.integer({ min: 1, max: 8 })), {
    maxLength: 60,
  });
  const check = async (all: readonly (readonly [string, number, number])[]): Promise<void> => {
    const { table, room, clock, dirty, clean, entered, enter, turn } = given(32);
    const asked: { first: number; count: number }[] = [];
    const waited: string[] = [];
    let ended = 0;
    const pagesOf = () => Array.from({ length: 100 }, (_, i) => i).filter((i) => table.has(i));
    const end = (isRefused: boolean): void => {
      const [name, reserved] = entered[ended] ?? [];
      const range = asked[Number(name)];
      if (reserved === undefined || range === undefined) return;
      ended++;
      if (isRefused) room.noteRefused();
      else dirty(range.first, range.count);
      room.giveBack(reserved);
      expect(table.count).toBeLessThanOrEqual(32);
    };
    for (const [what, page, count] of all) {
      if (what === 'enter') {
        const name = `${asked.length}`;
        const { waitCount } = room;
        void enter(name, page, count);
        if (room.waitCount > waitCount) waited.push(name);
        asked.push({ first: page, count });
      } else if (what === 'end' || what === 'refuse') end(what === 'refuse');
      else if (what === 'clean') for (const each of pagesOf().slice(0, count)) clean(each, 1);
      else if (what === 'reduce') room.reduceTo(count);
      else clock.turn(CALM_MS);
      await turn();
    }
    for (let i = 0; i < asked.length; i++) {
      for (const each of pagesOf()) clean(each, 1);
      await turn();
      end(false);
      await turn();
    }
    const names = entered.map(([name]) => name);
    expect(names.filter((name) => waited.includes(name))).toEqual(waited);
    expect([entered.length, ended]).toEqual([asked.length, asked.length]);
  };
  await fc.assert(fc.asyncProperty(steps, check));
});
