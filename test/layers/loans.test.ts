import { expect, it } from 'vitest';
import { Loans } from '../../src/layers/loans.ts';
import { fc } from '../tools/seed.ts';

/** The memory that loans are of: what is pinned in it, and what was freed. */
class WatchedSlabs {
  readonly pinned = new Set<number>();
  readonly freed: number[] = [];

  pin(location: number): void {
    expect(this.pinned.has(location)).toBe(false);
    this.pinned.add(location);
  }

  unpin(location: number): void {
    expect(this.pinned.delete(location)).toBe(true);
  }

  free(location: number): void {
    expect(this.pinned.has(location)).toBe(false);
    this.freed.push(location);
  }
}

// Few enough that they are lent again and again, and from all over the numbers that there are.
const location = fc.oneof(
  fc.nat(1500),
  fc.nat(700).map((page) => page * 4096),
  fc.nat(300).map((page) => 2 ** 32 - 1 - page),
);

it('what is lent is pinned until its last reader returns it, and freed then if it was dropped', () => {
  fc.assert(
    fc.property(fc.array(location, { minLength: 3000, maxLength: 5000 }), (locations) => {
      const slabs = new WatchedSlabs();
      const loans = new Loans(slabs);
      const counts = new Map<number, number>();
      const dropped = new Set<number>();
      for (const [step, at] of locations.entries()) {
        const count = counts.get(at) ?? 0;
        expect(loans.isLent(at)).toBe(count > 0);
        const isBack = count > 0 && step % 5 > (step < 2500 ? 3 : 0);
        if (isBack) {
          slabs.freed.length = 0;
          loans.giveBack(at);
          if (count > 1) counts.set(at, count - 1);
          else counts.delete(at);
          const isFreed = count === 1 && dropped.delete(at);
          expect(slabs.freed).toEqual(isFreed ? [at] : []);
        } else if (step % 7 === 0 && !dropped.has(at)) {
          slabs.freed.length = 0;
          loans.free(at);
          if (count > 0) dropped.add(at);
          expect(slabs.freed).toEqual(count > 0 ? [] : [at]);
        } else if (!dropped.has(at)) {
          expect(loans.lend(at)).toBe(true);
          counts.set(at, count + 1);
        }
      }
      expect(slabs.pinned).toEqual(new Set(counts.keys()));
      expect(() => loans.giveBack(5_000_000)).toThrow('not lent');
    }),
    { numRuns: 10 },
  );
});

it('a page is lent a thousand times at once at most, and not at all when it is gone', () => {
  const loans = new Loans(new WatchedSlabs());
  for (let time = 0; time < 1000; time++) expect(loans.lend(7)).toBe(true);
  expect(loans.lend(7)).toBe(false);
  loans.giveBack(7);
  expect(loans.lend(7)).toBe(true);
  loans.lend(8);
  loans.free(8);
  expect(loans.lend(8)).toBe(false);
});
