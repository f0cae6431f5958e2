import { expect, it } from 'vitest';
import { Budget } from '../../src/tmem/budget.ts';
import { NO_SLOT, PageIndex } from '../../src/tmem/page-index.ts';

const KIB = 1024;
const LIMIT = 1024 * KIB;
const TRIES = 20;
const PAGE = 4 * KIB;
const [POOL, OBJECT] = [1, 7];

/** A layer that holds so much, of which each step gives so much back, for as many as there are. */
function layer(usedBytes: number, stepBytes = 0, stepCount = Number.POSITIVE_INFINITY) {
  const state = { usedBytes, steps: 0 };
  const budget = new Budget<undefined>({
    limitBytes: LIMIT,
    usedBytes: () => state.usedBytes,
    makeRoom: () => {
      if (state.steps === stepCount) return false;
      state.steps++;
      state.usedBytes -= stepBytes;
      return true;
    },
    triesMax: TRIES,
    pageBytes: () => PAGE,
  });
  const index = new PageIndex(8);
  index.createPool(POOL);
  return {
    state,
    insert: () => budget.insert(undefined, index, POOL, OBJECT, 0) !== NO_SLOT,
    move: () => budget.roomToMove(undefined, index, POOL, OBJECT, PAGE),
    fit: () => budget.fit(undefined),
    allows: (bytes: number) => budget.allows(bytes),
  };
}

it('a page enters, or gets another name, where it is within the limit, and not a byte above', () => {
  for (const what of ['insert', 'move'] as const) {
    const held = layer(LIMIT - 2 * PAGE);
    expect([held[what](), held.state.steps]).toEqual([true, 0]);
    const full = layer(LIMIT - PAGE + 1, 0, 0);
    expect(full[what]()).toBe(false);
  }
});

it('room is made by a bounded number of steps, of which none is enough, or one too few', () => {
  for (const what of ['insert', 'move'] as const) {
    const stuck = layer(LIMIT);
    expect([stuck[what](), stuck.state.steps]).toEqual([false, TRIES]);
    const given = layer(LIMIT, PAGE);
    expect([given[what](), given.state.steps]).toEqual([true, 2]);
    const few = layer(LIMIT, 1, 3);
    expect([few[what](), few.state.steps]).toEqual([false, 3]);
  }
});

it('and by fewer far above a limit that was lowered, where none of them helps', () => {
  for (const what of ['insert', 'move', 'fit'] as const) {
    const far = layer(LIMIT + 512 * KIB + 1);
    far[what]();
    expect(far.state.steps).toBe(8);
    const near = layer(LIMIT + 512 * KIB);
    near[what]();
    expect(near.state.steps).toBe(TRIES);
  }
});

it('what is above the limit comes down to it, and no farther', () => {
  const above = layer(LIMIT + 10, 4);
  above.fit();
  expect([above.state, above.allows(0), above.allows(3)]).toEqual([
    { usedBytes: LIMIT - 2, steps: 3 },
    true,
    false,
  ]);
  above.fit();
  expect(above.state.steps).toBe(3);
  const stuck = layer(LIMIT + 10, 4, 1);
  stuck.fit();
  expect(stuck.state.usedBytes).toBe(LIMIT + 6);
});
