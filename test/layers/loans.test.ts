import { expect, it } from 'vitest';
import { Loans } from '../../src/layers/loans.ts';
import { fc } from '../tools/seed.ts';

/** The memory that loans are of: what is pinned in it, and what was freed. */
class WatchedSlabs {
  readonly pinned = new Set<number>();
  readonly freed: number[] = [];

  pin(location: number): void {
    if (this.pinned.has(location)) expect.fail(`${location} is pinned twice`);
    this.pinned.add(location);
  }

  unpin(location: number): void {
    if (!this.pinned.delete(location)) expect.fail(`${location} was not pinned`);
  }

  free(location: number): void {
    if (this.pinned.has(location)) expect.fail(`${location} is freed and pinned`);
    this.freed.push(location);
  }

  /** That nothing was freed but `location`, if that is given. */
  checkFreed(location: number | undefined): void {
    const isRight = this.freed.length === (location === undefined ? 0 : 1);
    if (!isRight || this.freed[0] !== location) expect.fail(`${this.freed} were freed`);
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
        // Compared here, and not by `expect`, which takes longer than all else.
        if (loans.isLent(at) !== count > 0) expect.fail(`${at} is lent ${count} times`);
        const isBack = count > 0 && step % 5 > (step < 2500 ? 3 : 0);
        if (isBack) {
          slabs.freed.length = 0;
          loans.giveBack(at);
          if (count > 1) counts.set(at, count - 1);
          else counts.delete(at);
          const isFreed = count === 1 && dropped.delete(at);
          slabs.checkFreed(isFreed ? at : undefined);
        } else if (step % 7 === 0 && !dropped.has(at)) {
          slabs.freed.length = 0;
          loans.free(at);
          if (count > 0) dropped.add(at);
          slabs.checkFreed(count > 0 ? undefined : at);
        } else if (!dropped.has(at)) {
          if (!loans.lend(at)) expect.fail(`${at} is not lent`);
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
