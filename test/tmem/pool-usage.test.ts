import { expect, test } from 'vitest';
import type { Pool } from '../../src/tmem/pool.ts';
import { smallStack } from '../metrics/scraped.ts';
import { pageOf } from './page-content.ts';

const PAGE = 4096;

test('the pools of an account are charged for its pages, each for its own', () => {
  const tmem = smallStack();
  const account = tmem.createAccount({ name: 'a' });
  const pools = [
    tmem.createPool({ kind: 'ephemeral', account }),
    tmem.createPool({ kind: 'persistent', account }),
  ] as const;
  const [clean, dirty] = pools;
  const pagesOf = () => pools.map(({ usage }) => usage.pages);
  const sum = (measure: (pool: Pool) => number) => measure(clean) + measure(dirty);
  for (let i = 0; i < 30; i++) clean.put(0, i, pageOf(PAGE, 'half', i));
  for (let i = 0; i < 10; i++) dirty.put(1, i, pageOf(PAGE, 'random', i));
  expect(pagesOf()).toEqual([30, 10]);
  expect(sum(({ usage }) => usage.usedBytes)).toBe(account.usedBytes);
  expect(dirty.transferTo(clean, 1, 3)).toBe(true);
  expect(pagesOf()).toEqual([31, 9]);
  expect(sum(({ usage }) => usage.usedBytes)).toBe(account.usedBytes);
  clean.destroy();
  expect([clean.usage.pages, clean.usage.usedBytes]).toEqual([0, 0]);
  expect(dirty.usage.usedBytes).toBe(account.usedBytes);
  tmem.shrink(64 * 2 ** 20);
  expect(dirty.usage).toMatchObject({ pages: account.pages, usedBytes: account.usedBytes });
});
