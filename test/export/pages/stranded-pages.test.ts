import { expect, test } from 'vitest';
import { STRANDED_BYTES_MAX, StrandedPages } from '../../../src/export/pages/stranded-pages.ts';
import { KIB, noise } from '../fixture.ts';

const PAGE = 64 * KIB;
const COUNT = STRANDED_BYTES_MAX / PAGE;

test('stranded pages are taken as far as there is room, and a newer version always is', () => {
  const pages = new StrandedPages(PAGE);
  const put = (page: number, seed: number) => pages.put(page, noise(PAGE + 9, seed), 9);
  const taken = Array.from({ length: COUNT + 1 }, (_, page) => put(page, page + 1));
  expect(taken).toEqual([...Array(COUNT).fill(true), false]);
  expect(put(0, 99)).toBe(true);
  const to = Buffer.alloc(PAGE + 1);
  expect(pages.get(0, to, 1)).toBe(true);
  expect(to.subarray(1).equals(noise(PAGE + 9, 99).subarray(9))).toBe(true);
  expect([pages.get(COUNT, to, 0), pages.delete(COUNT), pages.delete(0)]).toEqual([
    false,
    false,
    true,
  ]);
  expect([pages.get(0, to, 0), put(COUNT, 7)]).toEqual([false, true]);
});
