import { expect, it } from 'vitest';
import { NumberTable } from '../../src/lib/number-table.ts';
import { fc } from '../tools/seed.ts';

const key = fc.oneof(
  fc.nat(100),
  fc.nat(300).map((run) => run * 4096),
  fc.nat(100).map((below) => 2 ** 32 - below),
  fc.nat(100).map((above) => 2 ** 40 + above), // these differ from the first in high bits alone
  fc.nat(50).map((below) => Number.MAX_SAFE_INTEGER - below),
);
const value = fc.oneof(fc.constantFrom(1, 2 ** 31 - 1), fc.integer({ min: 1, max: 1000 }));

it('a table of numbers holds what a Map holds', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(key, value), { minLength: 2000, maxLength: 3000 }), (steps) => {
      const table = new NumberTable();
      const model = new Map<number, number>();
      // It fills, and then more leave than enter.
      for (const [step, [at, to]] of steps.entries()) {
        if (step % 4 > (step < 1500 ? 2 : 0)) {
          const [first = at] = model.keys();
          const gone = step % 3 === 0 ? at : first;
          table.delete(gone);
          model.delete(gone);
        } else {
          table.set(at, to);
          model.set(at, to);
        }
        // Compared here, and not by `expect`, which takes longer than all else.
        if (table.get(at) !== (model.get(at) ?? 0)) expect.fail(`${at} has ${table.get(at)}`);
        if (table.size !== model.size) expect.fail(`${table.size} are there, not ${model.size}`);
      }
      for (const [at, to] of model) if (table.get(at) !== to) expect.fail(`${at} is not ${to}`);
      for (const at of model.keys()) {
        table.delete(at);
        if (table.get(at) !== 0) expect.fail(`${at} is not deleted`);
      }
      expect(table.size).toBe(0);
    }),
    { numRuns: 10 },
  );
});
