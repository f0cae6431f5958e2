/**
 * Reads many tables of one size in the order in which they lie, in large pieces and a few at a time:
 * a promise for each piece, none for a table.
 */

import { TmemError } from '../../../lib/errors.ts';
import { settleAll } from '../../../lib/settle-all.ts';
import type { ResizableStorage } from '../../../storage/storage.ts';
import { readPadded } from '../../tables/read-padded.ts';

/** What is read at once, unless one table is longer. */
const PIECE_BYTES = 1 << 20;
/** Bytes between two tables that are read along rather than begin another request. */
const GAP_BYTES = 32 << 10;
const PIECES_AT_ONCE = 4;

/** A table in memory, good until the visit ends. */
export interface SweptTable {
  readonly bytes: Buffer;
  /** The same bytes, for looking at entries without a call. */
  readonly words: Int32Array;
  /** Where the table begins in `bytes`; a multiple of 512. */
  at: number;
  /** Its number in the list. */
  index: number;
}

export interface SweepOptions {
  readonly storage: ResizableStorage;
  /** Where the tables are, in ascending order, none twice. */
  readonly offsets: Float64Array;
  readonly tableBytes: number;
  /** Answers whether it changed the table: then it is written back. */
  visit(table: SweptTable): boolean;
  /** The tables from one index to another could not be read or written. */
  onFailure(first: number, end: number, cause: TmemError): void;
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Visits every table once. Rejects only when the signal is aborted. */
export async function sweepTables(options: SweepOptions): Promise<void> {
  const { offsets, tableBytes } = options;
  const pieceBytes = Math.max(PIECE_BYTES, tableBytes);
  let next = 0;
  let done = 0;
  const work = async (): Promise<void> => {
    const spanned = (offsets.at(-1) ?? 0) - (offsets[0] ?? 0) + tableBytes;
    const bytes = Buffer.allocUnsafeSlow(Math.min(pieceBytes, spanned));
    const words = new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length >>> 2);
    while (next < offsets.length) {
      options.signal?.throwIfAborted();
      const first = next;
      next = endOfPiece(offsets, first, tableBytes, pieceBytes);
      const end = next;
      await visitPiece(options, first, end, { bytes, words, at: 0, index: 0 });
      done += end - first;
      options.onProgress?.(done, offsets.length);
    }
  };
  const workers = Math.min(PIECES_AT_ONCE, offsets.length);
  await settleAll(Array.from({ length: workers }, work));
}

function endOfPiece(
  offsets: Float64Array,
  first: number,
  tableBytes: number,
  pieceBytes: number,
): number {
  let end = first + 1;
  while (end < offsets.length) {
    const gap = offsets[end]! - offsets[end - 1]! - tableBytes;
    if (gap > GAP_BYTES || offsets[end]! + tableBytes - offsets[first]! > pieceBytes) break;
    end++;
  }
  return end;
}

async function visitPiece(
  options: SweepOptions,
  first: number,
  end: number,
  table: SweptTable,
): Promise<void> {
  const { storage, offsets, tableBytes } = options;
  const start = offsets[first]!;
  const length = offsets[end - 1]! + tableBytes - start;
  try {
    await readPadded(storage, table.bytes, 0, length, start);
    for (let index = first; index < end; index++) {
      table.at = offsets[index]! - start;
      table.index = index;
      if (!options.visit(table)) continue;
      await storage.write(table.bytes, table.at, tableBytes, offsets[index]!);
    }
  } catch (cause) {
    if (!(cause instanceof TmemError)) throw cause;
    options.onFailure(first, end, cause);
  }
}
