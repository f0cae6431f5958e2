/**
 * What tables name behind the end of their file: it was cut, or whoever wrote it was killed between
 * an entry and what that names. The end of the file is where new data goes, and such an entry would
 * then show it at another place of the disk. Nothing but the entries themselves can tell, so that
 * all tables are read once before anything is put there.
 */

import type { Storage } from '../../storage/storage.ts';
import { ParallelRuns } from '../data/parallel-runs.ts';
import { forEachPiece } from './entries.ts';
import { type AppendedLayout, COMPRESSED, ENTRY_BYTES, HOLE, isPlaceable } from './layout.ts';

/** Of tables, read at once beside others. */
const RUN_BYTES_MAX = 1 << 20;

/** Nothing new may reach `offset`, which the entry at `entryOffset` names. */
export interface LostPlace {
  readonly offset: number;
  readonly entryOffset: number;
}

/**
 * The first place from `end` on, where new data goes, that is named already. Undefined for none;
 * throws when a table cannot be read. What leads nowhere however long the file is does not count.
 */
export async function findLostEnd(
  storage: Storage,
  layout: AppendedLayout,
  end: number,
): Promise<LostPlace | undefined> {
  const search = new Search(storage, layout, end);
  await search.run();
  return search.found;
}

class Search {
  found: LostPlace | undefined;
  readonly #storage: Storage;
  readonly #layout: AppendedLayout;
  readonly #end: number;
  /** What is named has to be in the file as it is now, data up to the end of its last unit. */
  readonly #fileEnd: number;

  constructor(storage: Storage, layout: AppendedLayout, end: number) {
    this.#storage = storage;
    this.#layout = layout;
    this.#end = end;
    this.#fileEnd = storage.sizeBytes;
  }

  async run(): Promise<void> {
    const { codec, l1Offset, l1EntriesMax, entriesPerTable } = this.#layout;
    const tableBytes = entriesPerTable * ENTRY_BYTES;
    const tables: number[] = [];
    await forEachPiece(this.#storage, l1Offset, l1EntriesMax, (piece, index) => {
      for (let at = 0; at < piece.length; at += ENTRY_BYTES) {
        const offset = codec.readTable(piece, at);
        if (offset <= HOLE || !isPlaceable(this.#layout, offset, tableBytes)) continue;
        tables.push(offset);
        if (offset + tableBytes <= this.#fileEnd) continue;
        this.#note(offset, l1Offset + index * ENTRY_BYTES + at);
      }
    });
    await this.#visitTables(Float64Array.from(tables).sort(), tableBytes);
  }

  /** In the order of the file, and no byte twice, whatever a hostile first level says. */
  async #visitTables(offsets: Float64Array, tableBytes: number): Promise<void> {
    const runs = new ParallelRuns();
    let done = 0;
    for (let i = 0; i < offsets.length && !runs.hasFailed && !this.#isAtEnd; ) {
      const begin = Math.max(done, offsets[i] ?? 0);
      done = (offsets[i++] ?? 0) + tableBytes;
      while ((offsets[i] ?? Number.POSITIVE_INFINITY) <= done && done - begin < RUN_BYTES_MAX) {
        done = (offsets[i++] ?? 0) + tableBytes;
      }
      const room = runs.add(this.#visitRun(begin, done));
      if (room !== undefined) await room;
    }
    await runs.end();
  }

  #visitRun(begin: number, end: number): Promise<void> {
    const count = (end - begin) / ENTRY_BYTES;
    return forEachPiece(this.#storage, begin, count, (piece, index) => {
      this.#visitPiece(piece, begin + index * ENTRY_BYTES);
    });
  }

  #visitPiece(piece: Buffer, pieceOffset: number): void {
    const { codec, unitBytes, compressedPlace } = this.#layout;
    for (let at = 0; at < piece.length; at += ENTRY_BYTES) {
      const entry = codec.readUnit(piece, at);
      if (entry > HOLE) {
        if (entry + unitBytes <= this.#end) continue;
        if (isPlaceable(this.#layout, entry, unitBytes)) this.#note(entry, pieceOffset + at);
      } else if (entry === COMPRESSED && compressedPlace !== undefined) {
        const { offset, length } = compressedPlace(piece, at);
        if (length > 0 && offset + length > this.#fileEnd) this.#note(offset, pieceOffset + at);
      }
    }
  }

  /** Something is named that is not, or not as a whole, in the file. */
  #note(offset: number, entryOffset: number): void {
    const first = Math.max(offset, this.#end);
    if (this.found === undefined || first < this.found.offset) {
      this.found = { offset: first, entryOffset };
    }
  }

  get #isAtEnd(): boolean {
    return this.found?.offset === this.#end;
  }
}
