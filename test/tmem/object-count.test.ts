import path from 'node:path';
import { expect, it } from 'vitest';
import { Budget } from '../../src/tmem/budget.ts';
import { NO_SLOT, PageIndex } from '../../src/tmem/page-index.ts';
import { runProgram } from '../tools/programs.ts';

const LIBRARY = path.resolve(import.meta.dirname, '../../dist/index.js');

/** Pages in so many objects, one in each, that V8's heap of 64 MiB has no room for all of them. */
const SCRIPT = `
  import { createTmem, HIT_ZERO } from ${JSON.stringify(LIBRARY)};
  const tmem = createTmem({ memoryBytes: 2 ** 30 });
  const page = Buffer.alloc(4096);
  const others = tmem.createPool({ kind: 'ephemeral' });
  others.put(0, 0, page);
  const pool = tmem.createPool({ kind: 'ephemeral' });
  for (let object = 0; object < 200_000; object++) pool.put(object, 0, page);
  const newest = pool.get(199_999, 0, page);
  console.log(JSON.stringify([pool.has(0, 0), newest === HIT_ZERO, others.has(0, 0)]));
`;

it('pages in more objects than the heap has room for make the oldest of their own leave, and not the process end', async () => {
  const args = ['--max-old-space-size=64', '--input-type=module', '--eval', SCRIPT];
  const ended = await runProgram(process.execPath, args);
  expect(ended).toMatchObject({ code: 0, stdout: '[false,true,true]\n' });
});

it('an index has no more objects than it may, and more pages of those that it has', () => {
  const index = new PageIndex(100, 1, 3);
  index.createPool(1);
  index.createPool(2);
  const slots = [index.insert(1, 0, 0), index.insert(1, 1, 0), index.insert(2, 0, 0)];
  expect([index.mayHave(1, 2), index.mayHave(2, 1), index.mayHave(3, 0)]).toEqual([
    false,
    false,
    false,
  ]);
  expect([index.mayHave(1, 0), index.mayHave(1, 1), index.mayHave(2, 0)]).toEqual([
    true,
    true,
    true,
  ]);
  const budget = new Budget({
    ...{ limitBytes: 2 ** 20, usedBytes: () => 0, pageBytes: () => 0, triesMax: 10 },
    makeRoom: () => expect.fail('no page of another may leave for it'),
  });
  expect(budget.insert(undefined, index, 1, 2, 0)).toBe(NO_SLOT);
  expect(budget.insert(undefined, index, 1, 0, 1)).not.toBe(NO_SLOT);
  index.remove(slots[1] ?? NO_SLOT);
  expect(budget.insert(undefined, index, 1, 2, 0)).not.toBe(NO_SLOT);
});
