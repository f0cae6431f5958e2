import { expect, test } from 'vitest';
import { spreadHash } from '../../src/curves/page-hash.ts';

const SALTS = [0, 1, 0x6b43_a9b5];

test('of every aligned run of 2^k pages exactly one has a spread hash below 2^(32-k)', () => {
  for (const salt of SALTS) {
    for (const k of [1, 3, 6]) {
      const runs = new Map<number, number>();
      for (let page = 1 << 20; page < (1 << 20) + 4096; page++) {
        if (spreadHash(page, salt) >= 2 ** (32 - k)) continue;
        runs.set(page >> k, (runs.get(page >> k) ?? 0) + 1);
      }
      expect(runs.size).toBe(4096 >> k);
      expect(new Set(runs.values())).toEqual(new Set([1]));
    }
  }
});

test('which page of a run is taken differs from run to run, without preference', () => {
  for (const salt of SALTS) {
    const counts = new Int32Array(16);
    for (let page = 0; page < 1 << 18; page++) {
      if (spreadHash(page, salt) < 2 ** 28) counts[page & 15]!++;
    }
    for (const count of counts) expect(Math.abs(count / 1024 - 1)).toBeLessThan(0.2);
  }
});

test('pages that are 2^32 apart are in a sample or not by chance', () => {
  let both = 0;
  for (let page = 0; page < 4096; page++) {
    const hashes = [0, 1, 2].map((part) => spreadHash(page + part * 2 ** 32, 5));
    expect(new Set(hashes).size).toBe(3);
    if (hashes.every((hash) => hash < 2 ** 31)) both++;
  }
  expect(Math.abs(both / 512 - 1)).toBeLessThan(0.3);
});

test('no two pages have one spread hash', () => {
  const hashes = new Set(Array.from({ length: 100_000 }, (_, page) => spreadHash(page * 37, 5)));
  expect(hashes.size).toBe(100_000);
});
