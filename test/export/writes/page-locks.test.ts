import { expect, test } from 'vitest';
import { type PageLock, PageLocks } from '../../../src/export/writes/page-locks.ts';
import { fc } from '../../tools/seed.ts';

const turn = () => new Promise((resolve) => setImmediate(resolve));

/** Asks for ranges in this order; `granted` lists who has one, in the order in which they got it. */
function asking(locks: PageLocks, ranges: readonly (readonly [number, number])[]) {
  const granted: number[] = [];
  const held = new Map<number, PageLock>();
  for (const [i, [first, count]] of ranges.entries()) {
    void locks.acquire(first, count).then((lock) => {
      granted.push(i);
      held.set(i, lock);
    });
  }
  const release = async (i: number): Promise<void> => {
    const lock = held.get(i);
    if (lock === undefined) throw new Error(`${i} holds nothing`);
    locks.release(lock);
    await turn();
  };
  return { granted, release };
}

test('ranges that do not meet are held together', async () => {
  const { granted } = asking(new PageLocks(), [
    [0, 4],
    [4, 4],
    [100, 1],
  ]);
  await turn();
  expect(granted).toEqual([0, 1, 2]);
});

test('whoever wants a held page waits, and those who wait come in order', async () => {
  const { granted, release } = asking(new PageLocks(), [
    [0, 4],
    [3, 1],
    [3, 1],
  ]);
  await turn();
  expect(granted).toEqual([0]);
  await release(0);
  expect(granted).toEqual([0, 1]);
  await release(1);
  expect(granted).toEqual([0, 1, 2]);
});

test('nobody overtakes one who waits for the same page, though it is free', async () => {
  const locks = new PageLocks();
  const { granted, release } = asking(locks, [
    [0, 1],
    [0, 8], // waits for page 0, and so keeps 1 to 7
    [7, 1],
    [8, 1],
  ]);
  await turn();
  expect(granted).toEqual([0, 3]);
  expect([locks.isFree(7, 1), locks.isHeld(7), locks.isFree(9, 1)]).toEqual([false, false, true]);
  await release(0);
  expect(granted).toEqual([0, 3, 1]);
  await release(1);
  expect(granted).toEqual([0, 3, 1, 2]);
});

test('a release is told, when the next ones have their ranges', async () => {
  const seen: boolean[] = [];
  const locks: PageLocks = new PageLocks(() => seen.push(locks.isHeld(0)));
  const { release } = asking(locks, [
    [0, 1],
    [0, 1],
  ]);
  await turn();
  await release(0);
  await release(1);
  expect(seen).toEqual([true, false]);
});

test('no page is held twice and everybody gets a turn, in any order of releases', async () => {
  const range = fc.tuple(fc.nat({ max: 20 }), fc.integer({ min: 1, max: 8 }));
  await fc.assert(
    fc.asyncProperty(
      fc.array(range, { minLength: 1, maxLength: 20 }),
      fc.infiniteStream(fc.nat()),
      async (ranges, picks) => {
        const locks = new PageLocks();
        const { granted, release } = asking(locks, ranges);
        const released = new Set<number>();
        for (const pick of picks) {
          await turn();
          const holding = granted.filter((i) => !released.has(i));
          if (holding.length === 0) break;
          const pages = holding.flatMap((i) => {
            const [first, count] = ranges[i] ?? [0, 0];
            return Array.from({ length: count }, (_, page) => first + page);
          });
          expect(new Set(pages).size).toBe(pages.length);
          const next = holding[pick % holding.length] ?? 0;
          released.add(next);
          await release(next);
        }
        expect(granted.length).toBe(ranges.length);
        expect(locks.isFree(0, 100)).toBe(true);
      },
    ),
    { numRuns: 60 },
  );
});
