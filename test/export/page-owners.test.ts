import { expect, test } from 'vitest';
import { PageOwners } from '../../src/export/page-owners.ts';

const PIECE = 16_384;

test('who holds a page is unknown until it is noted, and the top for good once it is written', () => {
  const owners = new PageOwners(4 * PIECE);
  expect(owners.depthOf(7)).toBe(-1);
  owners.note(7, 2, owners.epoch);
  expect(owners.depthOf(7)).toBe(2);
  expect(owners.depthOf(8)).toBe(-1);
  owners.setTop(6, 3);
  expect([6, 7, 8, 9].map((page) => owners.depthOf(page))).toEqual([0, 0, 0, -1]);
  owners.note(7, 2, owners.epoch); // found out before it was written, told after
  expect(owners.depthOf(7)).toBe(0);
});

test('a range that is written over the ends of pieces is the top’s from its first page to its last', () => {
  const owners = new PageOwners(4 * PIECE);
  owners.setTop(PIECE - 1, PIECE + 2);
  const pages = [PIECE - 2, PIECE - 1, PIECE, 2 * PIECE - 1, 2 * PIECE, 2 * PIECE + 1];
  expect(pages.map((page) => owners.depthOf(page))).toEqual([-1, 0, 0, 0, 0, -1]);
});

test('what was found out before all was forgotten is not noted', () => {
  const owners = new PageOwners(2 * PIECE);
  owners.setTop(0, 1);
  const { epoch } = owners;
  owners.setTop(PIECE, 1);
  owners.setTop(2 * PIECE, 1); // a third piece: no room
  expect(owners.depthOf(0)).toBe(-1);
  owners.note(0, 1, epoch);
  expect(owners.depthOf(0)).toBe(-1);
  owners.note(0, 1, owners.epoch);
  expect(owners.depthOf(0)).toBe(1);
});

test('a note that needs a piece itself, and so makes all be forgotten, is not taken', () => {
  const owners = new PageOwners(PIECE);
  owners.setTop(0, 1);
  owners.note(PIECE, 1, owners.epoch);
  expect(owners.depthOf(PIECE)).toBe(-1);
});

test('the table of a disk takes a byte a page in whole pieces, up to its limit', () => {
  expect(PageOwners.bytesFor(1, 10 * PIECE)).toBe(PIECE);
  expect(PageOwners.bytesFor(PIECE + 1, 10 * PIECE)).toBe(2 * PIECE);
  expect(PageOwners.bytesFor(100 * PIECE, 10 * PIECE)).toBe(10 * PIECE);
});
