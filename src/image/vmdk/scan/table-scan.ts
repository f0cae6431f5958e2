/** All grain tables of an extent with their redundant copies, in order, in large reads. */

import type { Storage } from '../../../storage/storage.ts';
import { readPadded } from '../../tables/read-padded.ts';
import { HEADER_BYTES, SECTOR_BYTES, tableCount } from '../structures/sparse-header.ts';
import type { SparseLayout } from '../structures/vmdk-file.ts';

const ENTRY_BYTES = 4;
const DIRECTORY_BYTES = 64 * 1024;
/** Tables that lie side by side are read as one, up to this many bytes. */
const RUN_BYTES_MAX = 256 * 1024;

/** What is where a directory says that a table is. */
export interface ScannedTable {
  /** The storage offset that the directory says; 0 for no table. */
  readonly offset: number;
  /** Whether a table can be there. */
  readonly isInside: boolean;
  /** Undefined where there is none. Not to be kept. */
  readonly entries: Buffer | undefined;
}

export type VisitTables = (
  index: number,
  table: ScannedTable,
  /** Undefined in an extent without redundant copies. */
  copy: ScannedTable | undefined,
) => void | Promise<void>;

export function tableBytesOf({ entriesPerTable }: SparseLayout): number {
  return entriesPerTable * ENTRY_BYTES;
}

export function tableSectorsOf(layout: SparseLayout): number {
  return Math.ceil(tableBytesOf(layout) / SECTOR_BYTES);
}

/** Where both directories say that tables are; 0 for none. Tables are not read. */
export async function scanDirectories(
  storage: Storage,
  layout: SparseLayout,
  visit: (index: number, offset: number, isInside: boolean, isCopy: boolean) => void,
): Promise<void> {
  const count = tableCount(layout);
  const perChunk = DIRECTORY_BYTES / ENTRY_BYTES;
  for (const directory of [layout.directorySector, layout.redundantDirectorySector]) {
    if (directory === 0) continue;
    const reader = new TableReader(storage, layout);
    for (let first = 0; first < count; first += perChunk) {
      const length = Math.min(perChunk, count - first);
      await reader.readDirectory(directory, first, length);
      for (let i = 0; i < length; i++) {
        const { offset, isInside } = reader.placeOf(i);
        visit(first + i, offset, isInside, directory === layout.redundantDirectorySector);
      }
    }
  }
}

/** The tables that a directory names, in order; most of a large disk has none. */
export async function scanTables(
  storage: Storage,
  layout: SparseLayout,
  visit: VisitTables,
  signal?: AbortSignal,
): Promise<void> {
  const count = tableCount(layout);
  const hasCopies = layout.redundantDirectorySector !== 0;
  const perChunk = DIRECTORY_BYTES / ENTRY_BYTES;
  const tables = new TableReader(storage, layout);
  const copies = new TableReader(storage, layout);
  for (let first = 0; first < count; first += perChunk) {
    const length = Math.min(perChunk, count - first);
    signal?.throwIfAborted();
    await tables.readDirectory(layout.directorySector, first, length);
    if (hasCopies) await copies.readDirectory(layout.redundantDirectorySector, first, length);
    for (let i = 0; i < length; i++) {
      if (tables.isAbsent(i) && (!hasCopies || copies.isAbsent(i))) continue;
      signal?.throwIfAborted();
      const table = await tables.table(i);
      const done = visit(first + i, table, hasCopies ? await copies.table(i) : undefined);
      if (done !== undefined) await done;
    }
  }
}

/** Reads tables ahead, as long as the directory has them side by side. */
class TableReader {
  readonly #storage: Storage;
  readonly #tableBytes: number;
  readonly #tableSectors: number;
  readonly #ahead: Buffer;
  #directory = Buffer.alloc(0);
  #aheadOffset = 0;
  #aheadEnd = 0;

  constructor(storage: Storage, layout: SparseLayout) {
    this.#storage = storage;
    this.#tableBytes = tableBytesOf(layout);
    this.#tableSectors = tableSectorsOf(layout);
    this.#ahead = Buffer.alloc(RUN_BYTES_MAX);
  }

  async readDirectory(sector: number, first: number, count: number): Promise<void> {
    this.#directory = Buffer.alloc(count * ENTRY_BYTES);
    const offset = sector * SECTOR_BYTES + first * ENTRY_BYTES;
    await readPadded(this.#storage, this.#directory, 0, this.#directory.length, offset);
    this.#aheadEnd = 0;
  }

  isAbsent(index: number): boolean {
    return this.#directory.readUInt32LE(index * ENTRY_BYTES) === 0;
  }

  /** What the directory says; 0 is no table, and as good as inside. */
  placeOf(index: number): { offset: number; isInside: boolean } {
    const offset = this.#directory.readUInt32LE(index * ENTRY_BYTES) * SECTOR_BYTES;
    const end = offset + this.#tableBytes;
    const isInside = offset >= HEADER_BYTES && end <= this.#storage.sizeBytes;
    return { offset, isInside: isInside || offset === 0 };
  }

  async table(index: number): Promise<ScannedTable> {
    const { offset, isInside } = this.placeOf(index);
    if (!isInside || offset === 0) return { offset, isInside, entries: undefined };
    if (offset < this.#aheadOffset || offset + this.#tableBytes > this.#aheadEnd) {
      await this.#readAhead(index, offset);
    }
    const at = offset - this.#aheadOffset;
    return { offset, isInside, entries: this.#ahead.subarray(at, at + this.#tableBytes) };
  }

  async #readAhead(index: number, offset: number): Promise<void> {
    const stepBytes = this.#tableSectors * SECTOR_BYTES;
    const indexMax = this.#directory.length / ENTRY_BYTES;
    let end = offset + stepBytes;
    for (let next = index + 1; next < indexMax; next++) {
      if (end - offset + stepBytes > RUN_BYTES_MAX) break;
      if (this.#directory.readUInt32LE(next * ENTRY_BYTES) * SECTOR_BYTES !== end) break;
      end += stepBytes;
    }
    this.#aheadEnd = 0;
    await readPadded(this.#storage, this.#ahead, 0, end - offset, offset);
    this.#aheadOffset = offset;
    this.#aheadEnd = end;
  }
}
