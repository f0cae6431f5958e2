import { expect, it } from 'vitest';
import { Users } from '../../src/lib/users.ts';

function deferred<Value>() {
  let resolve: (value: Value) => void = () => {};
  let reject: (cause: Error) => void = () => {};
  const promise = new Promise<Value>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

it('users are gone at once when there never were any', async () => {
  await expect(new Users().gone()).resolves.toBeUndefined();
});

it('users are gone for all who wait when the last use has ended, though it failed', async () => {
  const users = new Users();
  const first = deferred<number>();
  const second = deferred<number>();
  const uses = [users.during(first.promise), users.during(second.promise)];
  let goneCount = 0;
  const waiting = [1, 2].map(() => users.gone().then(() => goneCount++));
  first.resolve(7);
  expect(await uses[0]).toBe(7);
  await turn();
  expect(goneCount).toBe(0);
  second.reject(new Error('torn'));
  await expect(uses[1]).rejects.toThrow('torn');
  await Promise.all(waiting);
  expect(goneCount).toBe(2);
});
