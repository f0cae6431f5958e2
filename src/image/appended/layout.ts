/**
 * Formats without a list of free space: two levels of tables, and new clusters are appended to the
 * file. QED and the first qcow are such; this is what tells them apart.
 */

import { TmemError } from '../../lib/errors.ts';
import type { Storage } from '../../storage/storage.ts';

export const ENTRY_BYTES = 8;

/** What an entry of a second-level table says, when it is no storage offset of data. */
export const HOLE = 0;
export const ZERO = -1;
export const COMPRESSED = -2;
/** No number that can be an offset of data. */
export const INVALID = -3;

/** How 8 bytes of a table are read and written, at `at`. */
export interface EntryCodec {
  /** A storage offset above 0, `HOLE` or `INVALID`. */
  readTable(table: Buffer, at: number): number;
  /** A storage offset above 0, or one of the codes above. */
  readUnit(table: Buffer, at: number): number;
  /** Writes an offset, of a table or of data, or `HOLE`; `ZERO` where the format has that. */
  write(table: Buffer, at: number, entry: number): void;
}

/** The geometry of an image; bytes, and powers of two but for the offsets. */
export interface AppendedLayout {
  readonly codec: EntryCodec;
  readonly unitBytes: number;
  /** Entries of a second-level table. */
  readonly entriesPerTable: number;
  readonly l1Offset: number;
  /** Entries that the first level has room for. */
  readonly l1EntriesMax: number;
  /** What tables and data are at multiples of. */
  readonly alignmentBytes: number;
  /** Nothing but the header lies before this. */
  readonly headerBytes: number;
  /** Pieces of tables that are read and written as one; a divisor of every table's offset. */
  readonly sliceBytes: number;
  readonly hasZeroEntries: boolean;
  /** Where the compressed unit is whose entry is at `at`; for layouts that have such. */
  readonly compressedPlace?: (table: Buffer, at: number) => CompressedPlace;
}

/** Where the bytes of a compressed unit are. */
export interface CompressedPlace {
  readonly offset: number;
  readonly length: number;
}

/** Bytes of the disk that one second-level table maps. */
export function tableSpanBytes(layout: AppendedLayout): number {
  return layout.entriesPerTable * layout.unitBytes;
}

/** Entries of the first level that a disk of that size uses. */
export function l1EntriesOf(layout: AppendedLayout, virtualSizeBytes: number): number {
  return Math.ceil(virtualSizeBytes / tableSpanBytes(layout));
}

/** Whether `length` bytes of a table or of data may be at `offset`, by the layout alone. */
export function isPlaceable(layout: AppendedLayout, offset: number, length: number): boolean {
  if (offset % layout.alignmentBytes !== 0 || offset < layout.headerBytes) return false;
  if (!Number.isSafeInteger(offset + length)) return false;
  const l1End = layout.l1Offset + layout.l1EntriesMax * ENTRY_BYTES;
  return offset >= l1End || offset + length <= layout.l1Offset;
}

/** The failure of an entry that leads nowhere. */
export function brokenEntry(storage: Storage, what: string, why: string): TmemError {
  return new TmemError('io', `"${storage.name}" is damaged: ${what} ${why}; check the image`, {
    context: { image: storage.name },
  });
}
