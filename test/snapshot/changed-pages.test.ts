import { describe, expect, it } from 'vitest';
import { ChangedPages } from '../../src/snapshot/changed-pages.ts';
import { PAGES_PER_OBJECT } from '../../src/tmem/cleancache.ts';
import { fc } from '../tools/seed.ts';

const COUNT = 5 * PAGES_PER_OBJECT + 100;

const range = fc.oneof(
  fc.record({ first: fc.nat(COUNT), count: fc.nat(50) }),
  fc.record({ first: fc.nat(COUNT), count: fc.nat(2 * COUNT) }),
);
const edges = [0, 1, 31, 32, 16383, 16384, 16385, COUNT - 1].filter((page) => page < COUNT);

describe('changed pages', () => {
  it('are exactly those that were noted', () => {
    fc.assert(
      fc.property(fc.array(range, { maxLength: 8 }), (ranges) => {
        const changed = new ChangedPages(COUNT);
        for (const { first, count } of ranges) changed.note(first, count);
        const near = ranges.flatMap(({ first, count }) => [
          first - 1,
          first,
          first + count - 1,
          first + count,
        ]);
        for (const page of [...edges, ...near]) {
          if (page < 0 || page >= COUNT) continue;
          const isNoted = ranges.some(
            (each) => page >= each.first && page < each.first + each.count,
          );
          expect(changed.has(page), `page ${page}`).toBe(isNoted);
        }
      }),
    );
  });

  it('are more than those, never fewer, where there is no memory for more blocks', () => {
    const changed = new ChangedPages(COUNT, 2);
    for (let run = 0; run < 4; run++) changed.note(run * PAGES_PER_OBJECT + 5, 1);
    const has = (run: number, page: number) => changed.has(run * PAGES_PER_OBJECT + page);
    expect([0, 1, 2, 3].map((run) => has(run, 5))).toEqual([true, true, true, true]);
    expect([0, 1, 2, 3].map((run) => has(run, 6))).toEqual([false, false, true, true]);
    expect(has(4, 5)).toBe(false);
  });

  it('of a run that was noted whole give their block to another', () => {
    const changed = new ChangedPages(COUNT, 1);
    changed.note(5, 1);
    changed.note(0, PAGES_PER_OBJECT);
    changed.note(PAGES_PER_OBJECT + 5, 1);
    expect([0, 5, PAGES_PER_OBJECT + 5].every((page) => changed.has(page))).toBe(true);
    expect(changed.has(PAGES_PER_OBJECT + 6)).toBe(false);
  });
});
