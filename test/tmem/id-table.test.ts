import { expect, it } from 'vitest';
import { IdTable } from '../../src/tmem/id-table.ts';
import { fc } from '../tools/seed.ts';

it('a table by ids answers as a map does, also where ids collide', () => {
  const id = fc.oneof(
    fc.nat({ max: 20 }),
    fc.nat({ max: 6 }).map((n) => 5 + n * 64),
    fc.maxSafeNat(),
  );
  const step = fc.tuple(fc.constantFrom('set', 'set', 'delete'), id);
  fc.assert(
    fc.property(fc.array(step, { maxLength: 150 }), (steps) => {
      const table = new IdTable<string>();
      const map = new Map<number, string>();
      for (const [at, [does, key]] of steps.entries()) {
        if (does === 'set') {
          table.set(key, `${at}`);
          map.set(key, `${at}`);
        } else {
          expect(table.delete(key)).toBe(map.delete(key));
        }
        expect(table.size).toBe(map.size);
        for (const [, each] of steps) {
          if (table.get(each) !== map.get(each)) expect.fail(`${each} has ${table.get(each)}`);
        }
      }
    }),
  );
});

it('a table by ids has room for those there are, not for those there were', () => {
  const table = new IdTable<number>();
  table.set(0, 0);
  for (let id = 1; id < 100_000; id++) {
    table.set(id, id);
    if (id > 10) table.delete(id - 10);
  }
  expect(table.capacity).toBeLessThanOrEqual(64);
  expect([table.get(0), table.get(99_999), table.get(50_000)]).toEqual([0, 99_999, undefined]);
});
