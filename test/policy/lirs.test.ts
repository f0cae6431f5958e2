import { expect, it } from 'vitest';
import { lirsFamily } from '../../src/policy/lirs.ts';
import { UnitCache } from './simulate.ts';

const PAGES = 200;

function filled(): UnitCache {
  const cache = new UnitCache((options) => lirsFamily(options).create(), PAGES);
  for (let round = 0; round < 2; round++) for (let key = 0; key < PAGES; key++) cache.request(key);
  return cache;
}

const timeOf = ({ policy }: UnitCache) => Number(Reflect.get(policy, 'now'));

function missesOfLoop(cache: UnitCache, first: number, rounds: number): number[] {
  return Array.from({ length: rounds }, () => {
    const before = cache.misses;
    for (let key = first; key < first + 150; key++) cache.request(key);
    return cache.misses - before;
  });
}

it('no time of lirs passes by hits of what it keeps: so many would make times wrap', () => {
  const cache = filled();
  const before = timeOf(cache);
  missesOfLoop(cache, 0, 10);
  expect(timeOf(cache)).toBe(before);
});

it('lirs takes to a new loop also after more single uses than its times can count', () => {
  const cache = filled();
  let scanned = 1_000_000;
  for (let part = 0; part < 5; part++) {
    for (let i = 0; i < 2 * PAGES; i++) cache.request(scanned++);
    Reflect.set(cache.policy, 'now', (timeOf(cache) + 2 ** 29) | 0); // so many more
  }
  expect(missesOfLoop(cache, 5000, 4)).toEqual([150, expect.any(Number), 0, 0]);
});
