/**
 * The first level of tables, in memory as a whole: at most 2 MiB for QED, whose levels are of one
 * size, and capped for qcow.
 */

import type { ResizableStorage } from '../../storage/storage.ts';
import { readPadded } from '../tables/read-padded.ts';
import { type AppendedLayout, brokenEntry, ENTRY_BYTES, HOLE, isPlaceable } from './layout.ts';

/** Where the second-level tables are; a table that is new is linked when it is durable. */
export class LevelOne {
  readonly #storage: ResizableStorage;
  readonly #layout: AppendedLayout;
  #entries: Float64Array;
  /** Tables that the file has and its first level does not name yet, by index. */
  readonly #unlinked = new Map<number, number>();

  private constructor(storage: ResizableStorage, layout: AppendedLayout, entries: Float64Array) {
    this.#storage = storage;
    this.#layout = layout;
    this.#entries = entries;
  }

  /** Reads the first `count` entries; see `convert` for tables of another byte order. */
  static async load(
    storage: ResizableStorage,
    layout: AppendedLayout,
    count: number,
    convert?: (table: Buffer) => void,
  ): Promise<LevelOne> {
    const levelOne = new LevelOne(storage, layout, new Float64Array(0));
    await levelOne.extend(count, convert);
    return levelOne;
  }

  /** In memory. */
  get bytes(): number {
    return this.#entries.byteLength;
  }

  /** Reads the entries that a larger disk has more. */
  async extend(count: number, convert?: (table: Buffer) => void): Promise<void> {
    const { codec, l1Offset } = this.#layout;
    const table = Buffer.alloc(count * ENTRY_BYTES);
    await readPadded(this.#storage, table, 0, table.length, l1Offset);
    convert?.(table);
    const entries = new Float64Array(count);
    for (let index = 0; index < count; index++) {
      entries[index] = codec.readTable(table, index * ENTRY_BYTES);
    }
    // What was linked while the table was read is here, and may not be there.
    entries.set(this.#entries.subarray(0, count));
    this.#entries = entries;
  }

  /** Where the table is; 0 for none. Throws for an entry that no table can be at. */
  offsetOf(index: number): number {
    const offset = this.#unlinked.get(index) ?? this.#entries[index] ?? HOLE;
    if (offset === HOLE) return HOLE;
    const { entriesPerTable } = this.#layout;
    const length = entriesPerTable * ENTRY_BYTES;
    const isInside = offset + length <= this.#storage.sizeBytes;
    if (isInside && isPlaceable(this.#layout, offset, length)) return offset;
    const what = `first-level entry ${index}, at offset ${this.#offsetOfEntry(index)},`;
    throw brokenEntry(this.#storage, what, 'names no place for a table');
  }

  /** A new table of zeros is in the file; `link` names it when it is durable. */
  addUnlinked(index: number, offset: number): void {
    this.#unlinked.set(index, offset);
  }

  unlinkedIndexes(): number[] {
    return [...this.#unlinked.keys()].sort((a, b) => a - b);
  }

  /** Writes the entries of durable tables; those side by side in one write. */
  async link(indexes: readonly number[]): Promise<void> {
    for (let first = 0; first < indexes.length; ) {
      let end = first + 1;
      while (end < indexes.length && indexes[end] === (indexes[end - 1] ?? 0) + 1) end++;
      await this.#writeRun(indexes.slice(first, end));
      first = end;
    }
  }

  async #writeRun(indexes: readonly number[]): Promise<void> {
    const run = Buffer.alloc(indexes.length * ENTRY_BYTES);
    const offsets = indexes.map((index) => this.#unlinked.get(index) ?? HOLE);
    for (const [at, offset] of offsets.entries()) {
      this.#layout.codec.write(run, at * ENTRY_BYTES, offset);
    }
    await this.#storage.write(run, 0, run.length, this.#offsetOfEntry(indexes[0] ?? 0));
    for (const [at, index] of indexes.entries()) {
      this.#entries[index] = offsets[at] ?? HOLE;
      this.#unlinked.delete(index);
    }
  }

  #offsetOfEntry(index: number): number {
    return this.#layout.l1Offset + index * ENTRY_BYTES;
  }
}
