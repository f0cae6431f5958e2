import { expect, test } from 'vitest';
import { PageOwners } from '../../../src/export/pages/page-owners.ts';

const PIECE = 16_384;

test('who holds a page is unknown until it is noted, and the top for good once it is written', () => {
  const owners = new PageOwners(4 * PIECE);
  expect(owners.depthOf(7)).toBe(-1);
  const notes = owners.notesOf(7);
  notes.note(7, 2);
  expect(owners.depthOf(7)).toBe(2);
  expect(owners.depthOf(8)).toBe(-1);
  owners.setTop(6, 3);
  expect([6, 7, 8, 9].map((page) => owners.depthOf(page))).toEqual([0, 0, 0, -1]);
  notes.note(7, 2); // found out before it was written, told after
  expect(owners.depthOf(7)).toBe(0);
});

test('a range that is written over the ends of pieces is the top’s from its first page to its last', () => {
  const owners = new PageOwners(4 * PIECE);
  owners.setTop(PIECE - 1, PIECE);
  const pages = [PIECE - 2, PIECE - 1, PIECE, 2 * PIECE - 2, 2 * PIECE - 1];
  expect(pages.map((page) => owners.depthOf(page))).toEqual([-1, 0, 0, 0, -1]);
});

test('a range longer than a piece is the top’s where anything was known, or was being found out', () => {
  const owners = new PageOwners(2 * PIECE);
  owners.notesOf(0).note(0, 1);
  const notes = owners.notesOf(2 * PIECE);
  owners.setTop(0, 3 * PIECE);
  notes.note(2 * PIECE, 1);
  const pages = [0, 1, PIECE, 2 * PIECE, 3 * PIECE];
  expect(pages.map((page) => owners.depthOf(page))).toEqual([0, 0, -1, 0, -1]);
});

test('the piece that was made first is forgotten first, and what is noted in it then', () => {
  const owners = new PageOwners(2 * PIECE);
  owners.setTop(0, 1);
  const notes = owners.notesOf(0);
  owners.setTop(PIECE, 1);
  owners.setTop(2 * PIECE, 1); // a third piece: no room
  expect([0, PIECE, 2 * PIECE].map((page) => owners.depthOf(page))).toEqual([-1, 0, 0]);
  notes.note(1, 1);
  expect(owners.depthOf(1)).toBe(-1);
  owners.notesOf(1).note(1, 1);
  expect([1, PIECE, 2 * PIECE].map((page) => owners.depthOf(page))).toEqual([1, -1, 0]);
});

test('the table of a disk takes a byte a page in whole pieces, up to its limit', () => {
  expect(PageOwners.bytesFor(1, 10 * PIECE)).toBe(PIECE);
  expect(PageOwners.bytesFor(PIECE + 1, 10 * PIECE)).toBe(2 * PIECE);
  expect(PageOwners.bytesFor(100 * PIECE, 10 * PIECE)).toBe(10 * PIECE);
});
