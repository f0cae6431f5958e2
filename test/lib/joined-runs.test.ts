import { expect, it } from 'vitest';
import { JoinedRuns } from '../../src/lib/joined-runs.ts';

/** Runs that a test ends one by one. */
function runs() {
  const ends: { resolve: () => void; reject: (cause: Error) => void }[] = [];
  let underWay = 0;
  let most = 0;
  const joined = new JoinedRuns(async () => {
    most = Math.max(most, ++underWay);
    try {
      await new Promise<void>((resolve, reject) => ends.push({ resolve, reject }));
    } finally {
      underWay--;
    }
  });
  return { joined, ends, most: () => most };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

it('joined runs answer all who came during one with the next one', async () => {
  const { joined, ends } = runs();
  const first = joined.run();
  const late = [joined.run(), joined.run()];
  expect(ends.length).toBe(1);
  ends[0]?.resolve();
  await first;
  await turn();
  expect(ends.length).toBe(2);
  ends[1]?.resolve();
  await Promise.all(late);
});

it('joined runs never overlap, though somebody asks right when one has ended', async () => {
  const { joined, ends, most } = runs();
  const first = joined.run();
  const again = first.then(() => joined.run());
  const second = joined.run();
  ends[0]?.resolve();
  await turn();
  for (const { resolve } of ends) resolve();
  await turn();
  for (const { resolve } of ends) resolve();
  await Promise.all([again, second]);
  expect(most()).toBe(1);
});

it('a joined run that fails does not fail the next', async () => {
  const { joined, ends } = runs();
  const first = joined.run();
  const second = joined.run();
  ends[0]?.reject(new Error('once'));
  await expect(first).rejects.toThrow('once');
  await turn();
  ends[1]?.resolve();
  await second;
});
