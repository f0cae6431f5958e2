/**
 * Where the grains of one sparse extent are: a directory of grain tables, both read through the
 * cache, and in front of them what has changed since the last sync.
 *
 * An entry that was changed waits here until its data is durable; only then does it go into the
 * table and its redundant copy. A new table is durable, full of zeros, before a directory names it.
 */

import type { ResizableStorage } from '../../../storage/storage.ts';
import type { TableCache } from '../../tables/table-cache.ts';
import { broken } from '../structures/damage.ts';
import { HEADER_BYTES, SECTOR_BYTES } from '../structures/sparse-header.ts';

/** What an entry says when it is no sector. */
export const HOLE = 0;
export const ZERO = 1;

const ENTRY_BYTES = 4;

/** Slices are sectors: tables begin at any of them, beside grains and descriptors. */
export const SLICE_BYTES = SECTOR_BYTES;

/** Of tables, read at once where a disk is gone through in order; of a small cache a quarter. */
const AHEAD_BYTES = 64 << 10;

/** Slices that are changed and written at once in a sync. */
const SLICES_AT_ONCE = 1024;

/** Where the tables are, and what may be in them. */
export interface GrainTablesParts {
  readonly storage: ResizableStorage;
  /** Of slices of `SLICE_BYTES`; offsets of this file begin at `windowOffset` there. */
  readonly cache: TableCache;
  readonly windowOffset: number;
  readonly entriesPerTable: number;
  readonly tableCount: number;
  readonly directoryOffset: number;
  /** 0 where there are no redundant copies. */
  readonly redundantDirectoryOffset: number;
  readonly hasZeroEntries: boolean;
  /** Grains lie behind this. */
  readonly overheadBytes: number;
}

/** Where a table and its redundant copy are, as storage offsets; 0 for none. */
export interface TablePlace {
  readonly table: number;
  readonly redundant: number;
}

/** What a sync takes with it. */
export interface StagedChanges {
  readonly entries: ReadonlyMap<number, number>;
  readonly tables: ReadonlyMap<number, TablePlace>;
}

export class GrainTables {
  readonly #parts: GrainTablesParts;
  readonly #staged = new Map<number, number>();
  readonly #newTables = new Map<number, TablePlace>();
  /** Tables that have blocks of the file system for all of their entries. */
  readonly #settled = new Set<number>();
  readonly #settling = new Map<number, Promise<void>>();
  /** The slice that a walk through the disk wants next: from there on several are read at once. */
  #expected = 0;

  constructor(parts: GrainTablesParts) {
    this.#parts = parts;
  }

  get stagedCount(): number {
    return this.#staged.size;
  }

  /**
   * Where the grain is: `HOLE`, `ZERO` or its sector; undefined when that must be read, see `load`.
   * Throws for an entry that no grain can be at.
   */
  entry(grain: number): number | undefined {
    const staged = this.#staged.get(grain);
    if (staged !== undefined) return staged;
    const place = this.#entryOffset(grain);
    if (place === undefined || place === 0) return place;
    const slice = this.#slice(place);
    if (slice === undefined) return undefined;
    const entry = slice.readUInt32LE(place % SLICE_BYTES);
    if (entry <= ZERO) return this.#checkedCode(entry, place);
    const { overheadBytes, storage } = this.#parts;
    const offset = entry * SECTOR_BYTES;
    if (offset >= overheadBytes && offset >= HEADER_BYTES && offset < storage.sizeBytes) {
      return entry;
    }
    throw broken(storage.name, place, `a grain at sector ${entry} cannot be in this file`);
  }

  /**
   * The first grain from `grain` on that does not say `entry`, or `step` sectors more for each that is
   * between them; or that is not in memory. Somewhat behind `end` at most.
   */
  runEnd(grain: number, end: number, entry: number, step: number): number {
    let next = grain;
    while (next < end && this.entry(next) === entry + (next - grain) * step) {
      next += this.#alike(next, entry + (next - grain) * step, step);
    }
    return next;
  }

  /** How many go on as this one does, with a single look-up: those in its slice, if it has a table. */
  #alike(grain: number, entry: number, step: number): number {
    if (this.#staged.size > 0) return 1;
    const { entriesPerTable, storage } = this.#parts;
    const inTable = entriesPerTable - (grain % entriesPerTable);
    const place = this.#entryOffset(grain) ?? 0;
    if (place === 0) return inTable;
    const slice = this.#slice(place);
    if (slice === undefined) return 1;
    const at = place % SLICE_BYTES;
    const most = Math.min(inTable, (SLICE_BYTES - at) / ENTRY_BYTES);
    let count = 1;
    for (; count < most; count++) {
      const expected = entry + count * step;
      if (slice.readUInt32LE(at + count * ENTRY_BYTES) !== expected) break;
      if (expected * SECTOR_BYTES >= storage.sizeBytes) break;
    }
    return count;
  }

  /** Reads what `entry` lacked. */
  async load(grain: number): Promise<void> {
    const { directoryOffset, windowOffset, cache } = this.#parts;
    const table = Math.floor(grain / this.#parts.entriesPerTable);
    const directoryEntry = directoryOffset + table * ENTRY_BYTES;
    if (!this.#newTables.has(table)) await cache.load(sliceOf(windowOffset + directoryEntry));
    const place = this.#entryOffset(grain);
    if (place === undefined || place === 0) return;
    const first = sliceOf(place);
    const aheadBytes = first === this.#expected ? this.#tableBytesBehind(first, table) : 0;
    this.#expected = first + SLICE_BYTES + aheadBytes;
    await cache.load(windowOffset + first, aheadBytes);
  }

  /** Bytes of whole slices behind `first` of the same table, and of next ones that lie there. */
  #tableBytesBehind(first: number, table: number): number {
    const { cache, directoryOffset, entriesPerTable, tableCount } = this.#parts;
    const limit = first + SLICE_BYTES + Math.min(AHEAD_BYTES, cache.statistics.limitBytes / 4);
    let end = (this.#entryOffset(table * entriesPerTable) ?? 0) + entriesPerTable * ENTRY_BYTES;
    for (let next = table + 1; next < tableCount && end < limit; next++) {
      const entryAt = directoryOffset + next * ENTRY_BYTES;
      const sector = this.#slice(entryAt)?.readUInt32LE(entryAt % SLICE_BYTES);
      if (sector === undefined || sector * SECTOR_BYTES !== end) break;
      end += entriesPerTable * ENTRY_BYTES;
    }
    return Math.max(0, sliceOf(Math.min(end, limit)) - first - SLICE_BYTES);
  }

  /** Whether there is a table for the grain; undefined when that must be read. */
  hasTable(grain: number): boolean | undefined {
    const place = this.#entryOffset(grain);
    return place === undefined ? undefined : place !== 0;
  }

  /** Whether the table of the grain has blocks of its own; see `settle`. */
  isSettled(grain: number): boolean {
    return this.#settled.has(Math.floor(grain / this.#parts.entriesPerTable));
  }

  /**
   * Writes zeros over those sectors of a table that are zeros: most images are made with holes for
   * tables, and on a disk that is full no sync could fill them. To be awaited before the first grain
   * of the table is staged; that is once for all who ask.
   */
  async settle(grain: number): Promise<void> {
    const table = Math.floor(grain / this.#parts.entriesPerTable);
    if (this.#settled.has(table)) return;
    let settling = this.#settling.get(table);
    if (settling === undefined) {
      settling = this.#settle(table).finally(() => this.#settling.delete(table));
      this.#settling.set(table, settling);
    }
    await settling;
  }

  /** From now on the grain is there; durable with a sync that begins later. */
  stage(grain: number, entry: number): void {
    this.#staged.set(grain, entry);
  }

  /** A table of zeros is at that place, on the file already. */
  stageTable(table: number, place: TablePlace): void {
    this.#newTables.set(table, place);
    this.#settled.add(table);
  }

  /** What was staged up to now. */
  changes(): StagedChanges {
    return { entries: new Map(this.#staged), tables: new Map(this.#newTables) };
  }

  /** Writes changes whose data is durable, to both copies; the caller syncs and then calls `forget`. */
  async write(changes: StagedChanges): Promise<void> {
    const grains = [...changes.entries.keys()].sort((a, b) => a - b);
    const dirty = new Set<number>();
    for (let first = 0; first < grains.length; ) {
      first = await this.#applySlice(grains, first, changes.entries, dirty);
      if (dirty.size < SLICES_AT_ONCE) continue;
      await this.#parts.cache.writeBack(dirty);
      dirty.clear();
    }
    for (const [table, place] of changes.tables) await this.#applyTable(table, place, dirty);
    await this.#parts.cache.writeBack(dirty);
  }

  /** The changes are durable; what has changed again meanwhile stays staged. */
  forget(changes: StagedChanges): void {
    for (const [grain, entry] of changes.entries) {
      if (this.#staged.get(grain) === entry) this.#staged.delete(grain);
    }
    for (const [table, place] of changes.tables) {
      if (this.#newTables.get(table) === place) this.#newTables.delete(table);
    }
  }

  /** Where both copies of a table are. */
  async placeOf(table: number): Promise<TablePlace> {
    const staged = this.#newTables.get(table);
    if (staged !== undefined) return staged;
    const { directoryOffset, redundantDirectoryOffset, windowOffset, cache } = this.#parts;
    const sectorAt = async (offset: number) => {
      const slice = await cache.load(sliceOf(windowOffset + offset));
      return slice.readUInt32LE(offset % SLICE_BYTES);
    };
    const at = directoryOffset + table * ENTRY_BYTES;
    const copyAt = redundantDirectoryOffset + table * ENTRY_BYTES;
    const found = this.#checkedTable(await sectorAt(at), at);
    if (redundantDirectoryOffset === 0) return { table: found, redundant: 0 };
    return { table: found, redundant: this.#checkedTable(await sectorAt(copyAt), copyAt) };
  }

  async #settle(table: number): Promise<void> {
    const { storage, cache, windowOffset, entriesPerTable } = this.#parts;
    const place = await this.placeOf(table);
    const zeros = Buffer.alloc(SLICE_BYTES);
    for (const offset of [place.table, place.redundant]) {
      const end = offset === 0 ? 0 : offset + entriesPerTable * ENTRY_BYTES;
      for (let at = sliceOf(offset); at < end; at += SLICE_BYTES) {
        const slice = await cache.load(windowOffset + at);
        if (slice.equals(zeros)) await storage.write(zeros, 0, zeros.length, at);
      }
    }
    this.#settled.add(table);
  }

  /** Changes the entries that are in one slice from `grains[first]` on; answers the first behind. */
  async #applySlice(
    grains: readonly number[],
    first: number,
    entries: ReadonlyMap<number, number>,
    dirty: Set<number>,
  ): Promise<number> {
    const { entriesPerTable, windowOffset, cache } = this.#parts;
    const table = Math.floor((grains[first] ?? 0) / entriesPerTable);
    const place = await this.placeOf(table);
    const offsetOf = (grain: number) =>
      place.table + (grain - table * entriesPerTable) * ENTRY_BYTES;
    const sliceOffset = sliceOf(windowOffset + offsetOf(grains[first] ?? 0));
    const copyOffset = sliceOffset + place.redundant - place.table;
    const slice = await cache.load(sliceOffset);
    let end = first;
    for (; end < grains.length; end++) {
      const grain = grains[end] ?? 0;
      if (Math.floor(grain / entriesPerTable) !== table) break;
      if (sliceOf(windowOffset + offsetOf(grain)) !== sliceOffset) break;
      slice.writeUInt32LE(entries.get(grain) ?? HOLE, offsetOf(grain) % SLICE_BYTES);
    }
    cache.markDirty(sliceOffset);
    dirty.add(sliceOffset);
    if (place.redundant === 0) return end;
    // No two tables share a sector: the copy is replaced without being read.
    slice.copy(cache.get(copyOffset) ?? cache.create(copyOffset));
    cache.markDirty(copyOffset);
    dirty.add(copyOffset);
    return end;
  }

  async #applyTable(table: number, place: TablePlace, dirty: Set<number>): Promise<void> {
    const { directoryOffset, redundantDirectoryOffset, windowOffset, cache } = this.#parts;
    const targets = [
      { at: directoryOffset + table * ENTRY_BYTES, offset: place.table },
      { at: redundantDirectoryOffset + table * ENTRY_BYTES, offset: place.redundant },
    ];
    for (const { at, offset } of targets) {
      if (offset === 0) continue;
      const sliceOffset = sliceOf(windowOffset + at);
      const slice = await cache.load(sliceOffset);
      slice.writeUInt32LE(offset / SECTOR_BYTES, at % SLICE_BYTES);
      cache.markDirty(sliceOffset);
      dirty.add(sliceOffset);
    }
  }

  /** Where the entry of a grain is on the file; 0 without a table, undefined when not in memory. */
  #entryOffset(grain: number): number | undefined {
    const { entriesPerTable, directoryOffset } = this.#parts;
    const table = Math.floor(grain / entriesPerTable);
    let offset = this.#newTables.get(table)?.table;
    if (offset === undefined) {
      const place = directoryOffset + table * ENTRY_BYTES;
      const slice = this.#slice(place);
      if (slice === undefined) return undefined;
      offset = this.#checkedTable(slice.readUInt32LE(place % SLICE_BYTES), place);
    }
    return offset === 0 ? 0 : offset + (grain - table * entriesPerTable) * ENTRY_BYTES;
  }

  #checkedTable(sector: number, place: number): number {
    const { storage, entriesPerTable } = this.#parts;
    const offset = sector * SECTOR_BYTES;
    const end = offset + entriesPerTable * ENTRY_BYTES;
    if (sector === 0 || end <= storage.sizeBytes) return offset;
    throw broken(storage.name, place, `a grain table at sector ${sector} is not in this file`);
  }

  #checkedCode(entry: number, place: number): number {
    if (entry === HOLE || this.#parts.hasZeroEntries) return entry;
    const { name } = this.#parts.storage;
    throw broken(name, place, 'a grain is marked as zeros, but the header allows no such marks');
  }

  #slice(place: number): Buffer | undefined {
    return this.#parts.cache.get(sliceOf(this.#parts.windowOffset + place));
  }
}

function sliceOf(offset: number): number {
  return offset - (offset % SLICE_BYTES);
}
