/**
 * Two levels of tables over a file that only grows, and the order in which they reach it: nothing
 * durable ever names what is not durable, so that a crash only leaks.
 *
 * Ordered, an entry waits here until its data is synced, and is then written; a new table is synced,
 * full of zeros, before the first level names it. Unordered, an image carries a mark that makes the
 * next opening check it, and only the second half of that rule is left; but entries of space that a
 * failed write has left wait all the same, or a crash could show what was meant for elsewhere.
 */

import { JoinedRuns } from '../../lib/joined-runs.ts';
import type { ResizableStorage } from '../../storage/storage.ts';
import { TableCache } from '../tables/table-cache.ts';
import { type AppendedLayout, brokenEntry, ENTRY_BYTES, HOLE } from './layout.ts';
import type { LevelOne } from './level-one.ts';
import { findLostEnd } from './lost-end.ts';
import type { AppendSpace } from './space.ts';

/** Entries that wait for their data at most, before allocations wait for a flush. */
const PENDING_MAX = 32_768;

export interface TablesParts {
  readonly storage: ResizableStorage;
  readonly layout: AppendedLayout;
  readonly levelOne: LevelOne;
  readonly space: AppendSpace;
  readonly isOrdered: boolean;
  readonly limitBytes: number;
}

/** Units are numbered in the order of the disk. A slice is a piece of a second-level table. */
export class AppendedTables {
  readonly cache: TableCache;
  readonly #storage: ResizableStorage;
  readonly #layout: AppendedLayout;
  readonly #levelOne: LevelOne;
  readonly #space: AppendSpace;
  readonly #isOrdered: boolean;
  readonly #slicesEntries: number;
  /** Entries of 8 bytes whose data may not be durable yet, by their units. */
  readonly #pending = new Map<number, Buffer>();
  readonly #creating = new Map<number, Promise<void>>();
  /** Settled when it is known how far the file may grow. */
  #limited: Promise<void> | undefined;
  readonly #flushes = new JoinedRuns(() => this.#flush());

  constructor(parts: TablesParts) {
    const { storage, layout, limitBytes } = parts;
    this.#storage = storage;
    this.#layout = layout;
    this.#levelOne = parts.levelOne;
    this.#space = parts.space;
    this.#isOrdered = parts.isOrdered;
    this.#slicesEntries = layout.sliceBytes / ENTRY_BYTES;
    this.cache = new TableCache({ storage, sliceBytes: layout.sliceBytes, limitBytes });
  }

  /** To be awaited before anything new is put into the file, or into a table. */
  async prepare(): Promise<void> {
    // So much waits to be written that a flush should come before more.
    const { dirtyBytes, statistics } = this.cache;
    const isCrowded = this.#pending.size >= PENDING_MAX || dirtyBytes * 2 > statistics.limitBytes;
    if (isCrowded) await this.flush();
    this.#limited ??= this.#limitSpace().catch((cause: unknown) => {
      this.#limited = undefined;
      throw cause;
    });
    await this.#limited;
  }

  async #limitSpace(): Promise<void> {
    const storage = this.#storage;
    const lost = await findLostEnd(storage, this.#layout, this.#space.end);
    if (lost === undefined) return;
    const what = `the entry at offset ${lost.entryOffset} names what the file does not have`;
    const why = `at ${lost.offset}, and nothing new can be put there`;
    this.#space.limit(lost.offset, () => brokenEntry(storage, what, why));
  }

  /** The slice with the unit's entry; undefined where there is no table. */
  slice(unit: number): Buffer | undefined | Promise<Buffer> {
    const offset = this.#sliceOffset(unit);
    if (offset === undefined) return undefined;
    return this.cache.get(offset) ?? this.cache.load(offset);
  }

  /** The first unit behind those whose entries are in the same slice. */
  sliceEnd(unit: number): number {
    return (Math.floor(unit / this.#slicesEntries) + 1) * this.#slicesEntries;
  }

  /** The first unit behind those of the same table. */
  tableEnd(unit: number): number {
    const { entriesPerTable } = this.#layout;
    return (Math.floor(unit / entriesPerTable) + 1) * entriesPerTable;
  }

  /** What the unit's entry says, from its slice or newer than that; see `EntryCodec.readUnit`. */
  entry(unit: number, slice: Buffer | undefined): number {
    const pending = this.#pending.size === 0 ? undefined : this.#pending.get(unit);
    if (pending !== undefined) return this.#layout.codec.readUnit(pending, 0);
    return slice === undefined ? HOLE : this.#layout.codec.readUnit(slice, this.#at(unit));
  }

  /** The 8 bytes of the entry. */
  rawEntry(unit: number, slice: Buffer): Buffer {
    const at = this.#at(unit);
    return this.#pending.get(unit) ?? slice.subarray(at, at + ENTRY_BYTES);
  }

  /** The failure of an entry that names no data. */
  broken(unit: number): Error {
    const at = (this.#sliceOffset(unit) ?? 0) + this.#at(unit);
    const what = `second-level entry of guest offset ${unit * this.#layout.unitBytes}, at`;
    return brokenEntry(this.#storage, `${what} offset ${at},`, 'names no place for data');
  }

  /** Makes an empty table for the unit where there is none. */
  async ensureTable(unit: number): Promise<void> {
    const index = Math.floor(unit / this.#layout.entriesPerTable);
    if (this.#levelOne.offsetOf(index) !== HOLE) return;
    let creating = this.#creating.get(index);
    if (creating === undefined) {
      creating = this.#createTable(index).finally(() => this.#creating.delete(index));
      this.#creating.set(index, creating);
    }
    await creating;
  }

  async #createTable(index: number): Promise<void> {
    const run = this.#space.take(this.#layout.entriesPerTable * ENTRY_BYTES);
    try {
      // With blocks of its own: later, a disk that is full would refuse every flush.
      await this.#storage.writeZeroes(run.offset, run.length, false);
    } catch (cause) {
      this.#space.giveBack(run);
      throw cause;
    }
    // The cache may hold what a damaged image pointed to here, behind its end.
    this.cache.drop(run.offset, run.length);
    this.#levelOne.addUnlinked(index, run.offset);
    this.#space.settle(run);
  }

  /**
   * Stores the entries of `count` units of one slice, whose table exists; `raw` has 8 bytes each. What
   * they name `isUsed` where it is not zeros before its data is durable.
   */
  set(unit: number, count: number, raw: Buffer, isUsed = false): void | Promise<void> {
    if (!this.#isOrdered && !isUsed) return this.#store(unit, count, raw);
    for (let i = 0; i < count; i++) {
      const at = i * ENTRY_BYTES;
      this.#pending.set(unit + i, raw.subarray(at, at + ENTRY_BYTES));
    }
  }

  /** All entries that were set before the call are durable, and what they name, when it resolves. */
  flush(): Promise<void> {
    return this.#flushes.run();
  }

  async #flush(): Promise<void> {
    const linkable = this.#levelOne.unlinkedIndexes();
    const pending = [...this.#pending];
    if (linkable.length > 0 || pending.length > 0) {
      // Slices hold only what may be written: entries of durable data, or the image is marked.
      await this.cache.writeBack();
      await this.#storage.sync();
      await this.#apply(pending);
      await this.#levelOne.link(linkable);
    }
    await this.cache.writeBack();
    await this.#storage.sync();
  }

  /**
   * Moves entries whose data is durable into their slices. Where there is a newer one meanwhile, whose
   * data is not, that waits for the next flush: but this flush is to leave what it was asked for.
   */
  async #apply(entries: readonly (readonly [unit: number, raw: Buffer])[]): Promise<void> {
    for (const [unit, raw] of entries) {
      const stored = this.#store(unit, 1, raw);
      if (stored !== undefined) await stored;
      if (this.#pending.get(unit) === raw) this.#pending.delete(unit);
    }
  }

  #store(unit: number, count: number, raw: Buffer): void | Promise<void> {
    const offset = this.#sliceOffset(unit);
    if (offset === undefined) throw new Error(`tables: unit ${unit} has no table`);
    const store = (slice: Buffer): void => {
      raw.copy(slice, this.#at(unit), 0, count * ENTRY_BYTES);
      this.cache.markDirty(offset);
    };
    const slice = this.cache.get(offset);
    return slice === undefined ? this.cache.load(offset).then(store) : store(slice);
  }

  #sliceOffset(unit: number): number | undefined {
    const { entriesPerTable, sliceBytes } = this.#layout;
    const table = this.#levelOne.offsetOf(Math.floor(unit / entriesPerTable));
    if (table === HOLE) return undefined;
    const at = (unit % entriesPerTable) * ENTRY_BYTES;
    return table + at - (at % sliceBytes);
  }

  /** Where the unit's entry is in its slice. */
  #at(unit: number): number {
    return (unit % this.#slicesEntries) * ENTRY_BYTES;
  }
}
