/** Reading all entries of a table that may be large, a piece at a time, holes left out. */

import { roundUp } from '../../lib/round-up.ts';
import type { Storage } from '../../storage/storage.ts';
import { readPadded } from '../tables/read-padded.ts';
import { ENTRY_BYTES } from './layout.ts';

const PIECE_BYTES = 64 * 1024;

/** Sees a piece of the table, whose first entry has that index. */
export type VisitEntries = (piece: Buffer, index: number) => void | Promise<void>;

/** Visits the `count` entries at `offset`; pieces that the file does not have are not visited. */
export async function forEachPiece(
  storage: Storage,
  offset: number,
  count: number,
  visit: VisitEntries,
): Promise<void> {
  const end = Math.min(offset + count * ENTRY_BYTES, storage.sizeBytes);
  const buffer = Buffer.alloc(Math.min(PIECE_BYTES, count * ENTRY_BYTES));
  for (let at = offset; at < end; ) {
    if (storage.supports.extents) {
      const { isHole, length } = await storage.extent(at, end - at);
      const whole = length - (length % ENTRY_BYTES);
      if (isHole && whole > 0) {
        at += whole;
        continue;
      }
    }
    const left = roundUp(end - at, ENTRY_BYTES);
    const piece = buffer.subarray(0, Math.min(buffer.length, left));
    await readPadded(storage, piece, 0, piece.length, at);
    await visit(piece, (at - offset) / ENTRY_BYTES);
    at += piece.length;
  }
}

/** Writes zeros over the entries of a piece whose positions are given, and over nothing else. */
export async function clearEntries(
  storage: Storage,
  positions: readonly number[],
  piece: Buffer,
  pieceOffset: number,
): Promise<void> {
  for (const at of positions) piece.fill(0, at, at + ENTRY_BYTES);
  const first = positions[0];
  const last = positions[positions.length - 1];
  if (first === undefined || last === undefined) return;
  await storage.write(piece, first, last + ENTRY_BYTES - first, pieceOffset + first);
}
