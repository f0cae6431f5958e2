import { expect, test } from 'vitest';
import { type Piece, type PieceKind, Pieces } from '../../src/imaging/copy/pieces.ts';
import { fc } from '../tools/seed.ts';

const PIECE_BYTES = 64;

interface Run {
  readonly kind: PieceKind;
  readonly length: number;
}

/** All pieces of a disk that is made of the runs. */
async function piecesOf(runs: readonly Run[], alignBytes: number): Promise<Piece[]> {
  const ends: number[] = [];
  for (const { length } of runs) ends.push((ends.at(-1) ?? 0) + length);
  const pieces = new Pieces({
    ...{ sizeBytes: ends.at(-1) ?? 0, pieceBytes: PIECE_BYTES, alignBytes },
    look: async (offset, length) => {
      const at = ends.findIndex((end) => end > offset);
      const kind = runs[at]?.kind ?? 'data';
      return { kind, length: Math.min(length, (ends[at] ?? 0) - offset) };
    },
  });
  const found: Piece[] = [];
  for (let piece = await pieces.next(); piece !== undefined; piece = await pieces.next()) {
    found.push(piece);
  }
  return found;
}

const runs = fc.array(
  fc.record({
    kind: fc.constantFrom<PieceKind>('data', 'zero', 'skipped'),
    length: fc.integer({ min: 1, max: 300 }),
  }),
  { minLength: 1, maxLength: 12 },
);

test('pieces cover the disk once and in order, and lose no content', async () => {
  await fc.assert(
    fc.asyncProperty(runs, fc.constantFrom(1, 8, 64), async (disk, alignBytes) => {
      const kinds = disk.flatMap(({ kind, length }) => Array<PieceKind>(length).fill(kind));
      let end = 0;
      for (const [index, piece] of (await piecesOf(disk, alignBytes)).entries()) {
        expect([piece.index, piece.offset, piece.offset % alignBytes]).toEqual([index, end, 0]);
        end += piece.length;
        const covered = new Set(kinds.slice(piece.offset, end));
        if (piece.kind === 'data') expect(piece.length).toBeLessThanOrEqual(PIECE_BYTES);
        else expect([...covered]).toEqual([piece.kind]);
      }
      expect(end).toBe(kinds.length);
    }),
    { numRuns: 300 },
  );
});

test('a long hole is one piece', async () => {
  const disk: Run[] = [
    { kind: 'data', length: 8 },
    { kind: 'zero', length: 2 ** 50 },
    { kind: 'data', length: 8 },
  ];
  const found = await piecesOf(disk, 8);
  expect(found.map(({ kind, length }) => [kind, length])).toEqual([
    ['data', 8],
    ['zero', 2 ** 50],
    ['data', 8],
  ]);
});

test('a long run of content is looked at once', async () => {
  let looks = 0;
  const pieces = new Pieces({
    ...{ sizeBytes: 10 * PIECE_BYTES, pieceBytes: PIECE_BYTES, alignBytes: 8 },
    look: async (_offset, length) => {
      looks++;
      return { kind: 'data', length };
    },
  });
  let found = 0;
  while ((await pieces.next()) !== undefined) found++;
  expect([found, looks]).toEqual([10, 1]);
});
