/**
 * Writing to a sparse extent: new grains go to the end of the file, or to where a grain was given up
 * and no durable table names it any more.
 */

import { TmemError } from '../../../lib/errors.ts';
import { roundUp } from '../../../lib/round-up.ts';
import type { ResizableStorage } from '../../../storage/storage.ts';
import type { WriteTarget } from '../../format.ts';
import type { RequestEpochs } from '../../tables/request-epochs.ts';
import { UnitsInFlight } from '../../tables/units-in-flight.ts';
import { broken } from '../structures/damage.ts';
import { POSITION_SECTORS_MAX, SECTOR_BYTES } from '../structures/sparse-header.ts';
import type { ExtentChanges, ExtentWriter } from './extent.ts';
import { type GrainTables, HOLE, ZERO } from './grain-tables.ts';

/** Given-up grains that are remembered; more stay unused until the image is converted. */
const FREE_MAX = 65_536;

export interface GrainAllocationParts {
  readonly storage: ResizableStorage;
  readonly tables: GrainTables;
  readonly grainBytes: number;
  readonly lengthBytes: number;
  readonly entriesPerTable: number;
  /** Whether new tables get a second copy. */
  readonly hasRedundantTables: boolean;
  /** Whether an entry can say that a grain is zeros. */
  readonly hasZeroEntries: boolean;
  /** Whether another image shows through holes. */
  readonly hasBacking: boolean;
  readonly epochs: RequestEpochs;
  /** The first place for a new grain, a multiple of its size. */
  readonly endOffset: number;
  /** Reads all tables for the first grain behind that which one names; asked before the first new one. */
  readonly findLostGrain: () => Promise<LostGrain | undefined>;
}

/** A place that the entry at `entryOffset` names and the file does not have. */
export interface LostGrain {
  readonly fileOffset: number;
  readonly entryOffset: number;
}

/** Grains that were given up by that moment. */
interface Retired {
  readonly stamp: number;
  readonly offsets: readonly number[];
}

export class GrainAllocation implements ExtentWriter {
  readonly unitBytes: number;
  readonly #parts: GrainAllocationParts;
  readonly #inFlight = new UnitsInFlight();
  readonly #creating = new Map<number, Promise<void>>();
  #endOffset: number;
  /** Settled when it is known whether something new might come to lie where an entry points. */
  #searched: Promise<void> | undefined;
  #isSearched = false;
  #lost: LostGrain | undefined;
  /** Room for tables in the space that was last taken for them. */
  #tableSpace = { offset: 0, end: 0 };
  #free: number[] = [];
  /** Given up since the last sync began: durable tables may still name them. */
  #freed: number[] = [];
  /** No table names them, but requests that are under way may. */
  #retired: Retired[] = [];
  /** Discards that are under way of what is not free before they have ended. */
  readonly #discards = new Set<Promise<void>>();

  constructor(parts: GrainAllocationParts) {
    this.unitBytes = parts.grainBytes;
    this.#parts = parts;
    this.#endOffset = parts.endOffset;
  }

  get stagedCount(): number {
    return this.#parts.tables.stagedCount;
  }

  allocate(offset: number, length: number): WriteTarget | Promise<WriteTarget> {
    const { tables, storage, grainBytes, lengthBytes } = this.#parts;
    const retry = () => this.allocate(offset, length);
    const grain = Math.floor(offset / grainBytes);
    const busy = this.#inFlight.waitFor(grain);
    if (busy !== undefined) return busy.then(retry);
    const entry = tables.entry(grain);
    if (entry === undefined) return tables.load(grain).then(retry);
    const wantedEnd = Math.min(offset + length, lengthBytes);
    if (entry > ZERO) {
      const end = this.#endOfRun(grain, wantedEnd, (next) => {
        return tables.entry(next) === entry + (next - grain) * (grainBytes / SECTOR_BYTES);
      });
      const storageOffset = entry * SECTOR_BYTES + offset - grain * grainBytes;
      const runBytes = Math.min(end * grainBytes, wantedEnd) - offset;
      return { length: runBytes, storage, storageOffset, headBytes: 0, tailBytes: 0 };
    }
    if (!this.#isSearched) return this.#search().then(retry);
    const hasTable = tables.hasTable(grain);
    if (hasTable === undefined) return tables.load(grain).then(retry);
    if (!hasTable) return this.#createTable(grain).then(retry);
    if (!tables.isSettled(grain)) return tables.settle(grain).then(retry);
    return this.#allocateNew(grain, offset, wantedEnd);
  }

  canZero(offset: number, length: number): boolean {
    const { grainBytes, lengthBytes, hasBacking, hasZeroEntries } = this.#parts;
    const end = offset + length;
    const isWhole = offset % grainBytes === 0 && (end % grainBytes === 0 || end === lengthBytes);
    return isWhole && (!hasBacking || hasZeroEntries);
  }

  async zero(
    offset: number,
    length: number,
    mayDiscard: boolean,
    mustBeFast: boolean,
  ): Promise<void> {
    const { grainBytes, hasBacking, storage, lengthBytes } = this.#parts;
    const absent = hasBacking ? ZERO : HOLE;
    await this.#visit(offset, length, (grain, entry) => {
      if (entry === ZERO || entry === absent) return undefined;
      if (entry === HOLE) return this.#markZero(grain);
      if (mayDiscard) return this.#giveUp(grain, entry, absent);
      const bytes = Math.min(grainBytes, lengthBytes - grain * grainBytes);
      return storage.writeZeroes(entry * SECTOR_BYTES, bytes, false, mustBeFast);
    });
  }

  async discard(offset: number, length: number): Promise<void> {
    const { grainBytes, hasBacking, hasZeroEntries, lengthBytes } = this.#parts;
    if (hasBacking && !hasZeroEntries) return;
    const end = offset + length;
    const wholeOffset = roundUp(offset, grainBytes);
    const wholeEnd = end === lengthBytes ? end : Math.floor(end / grainBytes) * grainBytes;
    await this.#visit(wholeOffset, wholeEnd - wholeOffset, (grain, entry) => {
      if (entry > ZERO) this.#giveUp(grain, entry, hasBacking ? ZERO : HOLE);
      return undefined;
    });
  }

  takeChanges(): ExtentChanges | undefined {
    this.#reclaim();
    const { tables, epochs } = this.#parts;
    const changes = tables.changes();
    if (changes.entries.size === 0 && changes.tables.size === 0) return undefined;
    const freedCount = this.#freed.length;
    return {
      write: () => tables.write(changes),
      finish: () => {
        tables.forget(changes);
        const offsets = this.#freed.splice(0, freedCount);
        if (offsets.length > 0) this.#retired.push({ stamp: epochs.advance(), offsets });
      },
    };
  }

  /** That it cannot be cut costs nothing but space. */
  async cutEnd(): Promise<void> {
    const { storage, grainBytes } = this.#parts;
    this.#reclaim();
    await Promise.all(this.#discards);
    const free = new Set(this.#free);
    while (free.delete(this.#endOffset - grainBytes)) this.#endOffset -= grainBytes;
    this.#free = [...free];
    if (this.#endOffset < storage.sizeBytes) {
      await storage.resize(this.#endOffset).catch(() => undefined);
    }
  }

  /** New space for grains from `grain` on, as many as are wanted and neither there nor on their way. */
  #allocateNew(grain: number, offset: number, wantedEnd: number): WriteTarget {
    const { tables, storage, grainBytes } = this.#parts;
    const end = this.#endOfRun(grain, wantedEnd, (next) => {
      if (this.#inFlight.has(next) || !tables.hasTable(next)) return false;
      if (!tables.isSettled(next)) return false;
      const entry = tables.entry(next);
      return entry === HOLE || entry === ZERO;
    });
    const { fileOffset, count } = this.#takeSpace(end - grain);
    const release = this.#inFlight.take(grain, count);
    const takenEnd = (grain + count) * grainBytes;
    const runEnd = Math.min(takenEnd, wantedEnd);
    return {
      length: runEnd - offset,
      storage,
      storageOffset: fileOffset,
      headBytes: offset - grain * grainBytes,
      // A grain is stored whole, also where the extent ends within it.
      tailBytes: takenEnd - runEnd,
      commit: () => {
        for (let i = 0; i < count; i++) {
          tables.stage(grain + i, (fileOffset + i * grainBytes) / SECTOR_BYTES);
        }
        release();
      },
      abort: () => {
        release();
        for (let i = 0; i < count; i++) this.#addFree(fileOffset + i * grainBytes);
      },
    };
  }

  /** The first grain behind `grain` that does not go on, or the first that is not wanted. */
  #endOfRun(grain: number, wantedEnd: number, goesOn: (next: number) => boolean): number {
    let next = grain + 1;
    while (next * this.#parts.grainBytes < wantedEnd && goesOn(next)) next++;
    return next;
  }

  /** A run of grains that were given up, which may be shorter, or one at the end of the file. */
  #takeSpace(countMax: number): { fileOffset: number; count: number } {
    const { grainBytes } = this.#parts;
    let fileOffset = this.#free.pop();
    if (fileOffset === undefined) return { fileOffset: this.#takeEnd(countMax), count: countMax };
    let count = 1;
    // Those that were given up at once lie here upwards, mostly.
    for (; count < countMax && this.#free.at(-1) === fileOffset - grainBytes; count++) {
      fileOffset -= grainBytes;
      this.#free.pop();
    }
    return { fileOffset, count };
  }

  #takeEnd(count: number): number {
    const { storage, grainBytes } = this.#parts;
    const offset = this.#endOffset;
    const end = offset + count * grainBytes;
    if (end > POSITION_SECTORS_MAX * SECTOR_BYTES) {
      const cause = 'an extent of a vmdk cannot be longer than 2 TiB';
      const advice = 'convert the image to one of another format';
      throw new TmemError('no-space', `cannot extend "${storage.name}": ${cause}; ${advice}`);
    }
    if (this.#lost !== undefined && end > this.#lost.fileOffset) {
      const { fileOffset, entryOffset } = this.#lost;
      const cause = `a grain is named that the file does not have at ${fileOffset}`;
      throw broken(storage.name, entryOffset, `${cause}, and nothing new can be put there`);
    }
    this.#endOffset = end;
    return offset;
  }

  /** Once for all who ask; when a table cannot be read, whoever is next tries again. */
  #search(): Promise<void> {
    this.#searched ??= this.#parts
      .findLostGrain()
      .then((lost) => {
        this.#lost = lost;
        this.#isSearched = true;
      })
      .finally(() => {
        this.#searched = undefined;
      });
    return this.#searched;
  }

  #addFree(offset: number): void {
    if (this.#free.length < FREE_MAX) this.#free.push(offset);
  }

  /** Gives back the space of grains that nobody can reach any more. */
  #reclaim(): void {
    const { epochs, storage, grainBytes } = this.#parts;
    const past = this.#retired.filter(({ stamp }) => epochs.isPast(stamp));
    this.#retired = this.#retired.filter((each) => !past.includes(each));
    for (const offset of past.flatMap(({ offsets }) => offsets)) {
      if (!storage.supports.discard) this.#addFree(offset);
      else {
        // It may be used again only when nothing is being taken from it any more.
        const reuse = () => {
          this.#discards.delete(discard);
          this.#addFree(offset);
        };
        const discard: Promise<void> = storage.discard(offset, grainBytes).then(reuse, reuse);
        this.#discards.add(discard);
      }
    }
  }

  #giveUp(grain: number, entry: number, instead: number): undefined {
    this.#parts.tables.stage(grain, instead);
    this.#freed.push(entry * SECTOR_BYTES);
  }

  async #markZero(grain: number): Promise<void> {
    const { tables } = this.#parts;
    while (!tables.hasTable(grain)) {
      await tables.load(grain);
      if (tables.hasTable(grain) === false) await this.#createTable(grain);
    }
    await tables.settle(grain);
    // Whoever allocates it meanwhile writes to the same range: then either may win.
    if (this.#inFlight.has(grain) || (tables.entry(grain) ?? HOLE) > ZERO) return;
    tables.stage(grain, ZERO);
  }

  /** Calls `act` for the grains of a range, each when nobody is allocating it, with what it is then. */
  async #visit(
    offset: number,
    length: number,
    act: (grain: number, entry: number) => Promise<void> | undefined,
  ): Promise<void> {
    const { tables, grainBytes, entriesPerTable, hasBacking } = this.#parts;
    const end = Math.ceil((offset + length) / grainBytes);
    for (let grain = Math.floor(offset / grainBytes); grain < end; ) {
      const busy = this.#inFlight.waitFor(grain);
      const entry = busy === undefined ? tables.entry(grain) : undefined;
      if (entry === undefined) {
        await (busy ?? tables.load(grain));
        continue;
      }
      const acting = act(grain, entry);
      if (acting !== undefined) await acting;
      const skips = entry === HOLE && !hasBacking && tables.hasTable(grain) === false;
      grain = skips ? (Math.floor(grain / entriesPerTable) + 1) * entriesPerTable : grain + 1;
    }
  }

  /** A table of zeros on the file, and a second one where there are copies; once for all who ask. */
  #createTable(grain: number): Promise<void> {
    const table = Math.floor(grain / this.#parts.entriesPerTable);
    const running = this.#creating.get(table);
    if (running !== undefined) return running;
    const done = this.#writeNewTable(table).finally(() => this.#creating.delete(table));
    this.#creating.set(table, done);
    return done;
  }

  async #writeNewTable(table: number): Promise<void> {
    const { storage, tables, entriesPerTable, hasRedundantTables } = this.#parts;
    const tableBytes = roundUp(entriesPerTable * 4, SECTOR_BYTES);
    if (!this.#isSearched) await this.#search();
    const offset = this.#takeTableSpace(tableBytes * (hasRedundantTables ? 2 : 1));
    const zeros = Buffer.alloc(tableBytes * (hasRedundantTables ? 2 : 1));
    await storage.write(zeros, 0, zeros.length, offset);
    const redundant = hasRedundantTables ? offset + tableBytes : 0;
    tables.stageTable(table, { table: offset, redundant });
  }

  /** Never a place that held something else: what a crash leaves there must be zeros. */
  #takeTableSpace(length: number): number {
    if (this.#tableSpace.offset + length > this.#tableSpace.end) {
      const { grainBytes } = this.#parts;
      const count = Math.ceil(length / grainBytes);
      const offset = this.#takeEnd(count);
      this.#tableSpace = { offset, end: offset + count * grainBytes };
    }
    const { offset } = this.#tableSpace;
    this.#tableSpace = { ...this.#tableSpace, offset: offset + length };
    return offset;
  }
}
