/**
 * What QED and qcow have in common: finding a range, allocating for a write, zeroing and discarding,
 * in an image whose new clusters go to its end. Nothing waits for data that is being moved but who
 * wants the very unit.
 */

import { roundUp } from '../../lib/round-up.ts';
import type { ResizableStorage } from '../../storage/storage.ts';
import type { Mapping, WriteTarget } from '../format.ts';
import { checkPinned } from '../tables/pinned.ts';
import { UnitsInFlight } from '../tables/units-in-flight.ts';
import {
  type AppendedLayout,
  COMPRESSED,
  ENTRY_BYTES,
  HOLE,
  isPlaceable,
  l1EntriesOf,
  ZERO,
} from './layout.ts';
import { LevelOne } from './level-one.ts';
import { AppendSpace, type SpaceRun } from './space.ts';
import { AppendedTables } from './tables.ts';

/** Zeroes of this many units are put into the tables before others have their turn. */
const ZERO_UNITS_MAX = 512;

/** Who must be asked before an allocation begins, and hears when it has ended. */
export interface AllocationGate {
  enter(): Promise<void>;
  leave(): void;
}

export interface AppendedDiskParts {
  readonly storage: ResizableStorage;
  readonly layout: AppendedLayout;
  readonly virtualSizeBytes: number;
  /** A hole shows a backing image; else it reads as zeros. */
  readonly hasBacking: boolean;
  /** Whether an entry waits for its data to be durable; see `AppendedTables`. */
  readonly isOrdered: boolean;
  readonly tableBytesMax: number;
  readonly pinnedBytesMax?: number | undefined;
  readonly gate?: AllocationGate | undefined;
  /** Where the first new unit goes. */
  readonly end: number;
  /** Turns the first level, as it was read, into what the layout says it is. */
  readonly convertLevelOne?: ((table: Buffer) => void) | undefined;
  /** What a compressed unit's entry says; for layouts that have such. */
  readonly mapCompressed?:
    | ((unit: number, rawEntry: Buffer, inUnit: number) => Mapping)
    | undefined;
}

/** A unit of a new run, made ready for its data. */
interface NewRun {
  readonly unit: number;
  readonly count: number;
  readonly space: SpaceRun;
  /** The file went on behind where the space begins: there may be what a failed write has left. */
  readonly isUsed: boolean;
  readonly release: () => void;
}

export class AppendedDisk {
  readonly storage: ResizableStorage;
  readonly layout: AppendedLayout;
  readonly tables: AppendedTables;
  readonly space: AppendSpace;
  readonly #levelOne: LevelOne;
  readonly #parts: AppendedDiskParts;
  readonly #units = new UnitsInFlight();
  #virtualSizeBytes: number;
  #hasBacking: boolean;

  private constructor(parts: AppendedDiskParts, levelOne: LevelOne) {
    const { storage, layout, isOrdered, tableBytesMax } = parts;
    this.storage = storage;
    this.layout = layout;
    this.#parts = parts;
    this.#levelOne = levelOne;
    this.#virtualSizeBytes = parts.virtualSizeBytes;
    this.#hasBacking = parts.hasBacking;
    this.space = new AppendSpace(layout.unitBytes, parts.end);
    const { space } = this;
    const limitBytes = tableBytesMax;
    this.tables = new AppendedTables({ storage, layout, levelOne, space, isOrdered, limitBytes });
  }

  static async open(parts: AppendedDiskParts): Promise<AppendedDisk> {
    const { storage, layout, virtualSizeBytes, convertLevelOne } = parts;
    const count = l1EntriesOf(layout, virtualSizeBytes);
    checkPinned(storage.name, count * ENTRY_BYTES, parts);
    return new AppendedDisk(parts, await LevelOne.load(storage, layout, count, convertLevelOne));
  }

  get virtualSizeBytes(): number {
    return this.#virtualSizeBytes;
  }

  /** See `ImageFormat.pinnedBytes`. */
  get pinnedBytes(): number {
    return this.#levelOne.bytes;
  }

  map(offset: number, length: number): Mapping | Promise<Mapping> {
    const slice = this.tables.slice(this.#unitOf(offset));
    if (!(slice instanceof Promise)) return this.#mapIn(slice, offset, length);
    return slice.then((loaded) => this.#mapIn(loaded, offset, length));
  }

  #mapIn(slice: Buffer | undefined, offset: number, length: number): Mapping {
    const { unitBytes } = this.layout;
    const unit = this.#unitOf(offset);
    const inUnit = offset - unit * unitBytes;
    const left = this.#virtualSizeBytes - offset;
    if (slice === undefined) {
      const end = this.tables.tableEnd(unit) * unitBytes;
      return { kind: 'hole', length: Math.min(end - offset, left) };
    }
    const entry = this.#validEntry(unit, slice);
    if (entry === COMPRESSED) return this.#mapCompressed(unit, slice, inUnit, left);
    const count = this.#runCount(unit, entry, slice, Math.ceil((inUnit + length) / unitBytes));
    const runBytes = Math.min(count * unitBytes - inUnit, left);
    if (entry === ZERO) return { kind: 'zero', length: runBytes };
    if (entry === HOLE) return { kind: 'hole', length: runBytes };
    const storageOffset = entry + inUnit;
    return { kind: 'data', length: runBytes, storage: this.storage, storageOffset };
  }

  #mapCompressed(unit: number, slice: Buffer, inUnit: number, left: number): Mapping {
    const { mapCompressed } = this.#parts;
    if (mapCompressed === undefined) throw this.tables.broken(unit);
    const mapping = mapCompressed(unit, this.tables.rawEntry(unit, slice), inUnit);
    return { ...mapping, length: Math.min(mapping.length, left) };
  }

  /** Units from `unit` on, at most `countMax`, that go on as the first of them begins. */
  #runCount(unit: number, entry: number, slice: Buffer | undefined, countMax: number): number {
    const end = Math.min(this.tables.sliceEnd(unit), unit + countMax);
    const step = entry > 0 ? this.layout.unitBytes : 0;
    let count = 1;
    while (
      unit + count < end &&
      this.tables.entry(unit + count, slice) === entry + count * step &&
      (entry <= 0 || this.#isData(entry + count * step))
    ) {
      count++;
    }
    return count;
  }

  /** Where a write goes: over what is there, or to the end of the file. */
  allocate(offset: number, length: number): WriteTarget | Promise<WriteTarget> {
    const unit = this.#unitOf(offset);
    const slice = this.tables.slice(unit);
    if (slice instanceof Promise) return slice.then(() => this.allocate(offset, length));
    if (slice !== undefined) {
      const entry = this.#validEntry(unit, slice);
      if (entry > 0) return this.#inPlace(entry, slice, offset, length);
    }
    return this.#allocateNew(offset, length);
  }

  #inPlace(entry: number, slice: Buffer, offset: number, length: number): WriteTarget {
    const { unitBytes } = this.layout;
    const unit = this.#unitOf(offset);
    const inUnit = offset - unit * unitBytes;
    const count = this.#runCount(unit, entry, slice, Math.ceil((inUnit + length) / unitBytes));
    return {
      length: Math.min(length, count * unitBytes - inUnit),
      storage: this.storage,
      storageOffset: entry + inUnit,
      headBytes: 0,
      tailBytes: 0,
    };
  }

  async #allocateNew(offset: number, length: number): Promise<WriteTarget> {
    const unit = this.#unitOf(offset);
    await this.tables.prepare();
    this.space.checkRoom();
    await this.#parts.gate?.enter();
    let isTaken = false;
    try {
      for (;;) {
        await this.#units.waitFor(unit);
        const slice = await this.tables.slice(unit);
        if (this.#units.has(unit)) continue;
        const entry = this.#validEntry(unit, slice);
        if (entry > 0 && slice !== undefined) return this.#inPlace(entry, slice, offset, length);
        if (slice === undefined) {
          await this.tables.ensureTable(unit);
          continue;
        }
        const units = Math.ceil((offset + length) / this.layout.unitBytes) - unit;
        const run = this.#takeRun(unit, units, slice);
        isTaken = true;
        return this.#newTarget(run, offset, length);
      }
    } finally {
      if (!isTaken) this.#parts.gate?.leave();
    }
  }

  /** Takes units without data, and space for them; nothing waits between looking and taking. */
  #takeRun(unit: number, countMax: number, slice: Buffer): NewRun {
    const end = Math.min(this.tables.sliceEnd(unit), unit + countMax);
    let count = 1;
    while (unit + count < end) {
      const entry = this.tables.entry(unit + count, slice);
      const isFree = entry === HOLE || entry === ZERO || entry === COMPRESSED;
      if (!isFree || this.#units.has(unit + count)) break;
      count++;
    }
    const space = this.space.take(count * this.layout.unitBytes);
    const release = this.#units.take(unit, count);
    return { unit, count, space, isUsed: space.offset < this.storage.sizeBytes, release };
  }

  /** All of a new unit is written, with zeros behind the end of the disk: the file ends with it. */
  #newTarget(run: NewRun, offset: number, length: number): WriteTarget {
    const { unitBytes } = this.layout;
    const start = run.unit * unitBytes;
    const end = start + run.count * unitBytes;
    const runEnd = Math.min(offset + length, end);
    let isEnded = false;
    const finish = (): void => {
      isEnded = true;
      run.release();
      this.#parts.gate?.leave();
    };
    return {
      length: runEnd - offset,
      storage: this.storage,
      storageOffset: run.space.offset,
      headBytes: offset - start,
      tailBytes: end - runEnd,
      commit: () => {
        const named = this.#name(run);
        if (named instanceof Promise) return named.finally(finish);
        finish();
      },
      abort: () => {
        if (isEnded) return;
        this.space.giveBack(run.space);
        finish();
      },
    };
  }

  #name(run: NewRun): void | Promise<void> {
    const { codec, unitBytes } = this.layout;
    const raw = Buffer.alloc(run.count * ENTRY_BYTES);
    for (let i = 0; i < run.count; i++) {
      codec.write(raw, i * ENTRY_BYTES, run.space.offset + i * unitBytes);
    }
    const { space } = this;
    const stored = this.tables.set(run.unit, run.count, raw, run.isUsed);
    if (stored === undefined) return space.settle(run.space);
    return stored.then(
      () => space.settle(run.space),
      (cause: unknown) => {
        space.giveBack(run.space);
        throw cause;
      },
    );
  }

  /**
   * Stores an entry, made by `write`, that is no run of plain data, for a unit that nobody else
   * allocates meanwhile.
   */
  async replace(unit: number, write: () => Promise<Buffer>): Promise<void> {
    await this.tables.prepare();
    let waiting = this.#units.waitFor(unit);
    while (waiting !== undefined) {
      await waiting;
      waiting = this.#units.waitFor(unit);
    }
    const release = this.#units.take(unit, 1);
    try {
      await this.tables.ensureTable(unit);
      await this.tables.set(unit, 1, await write());
    } finally {
      release();
    }
  }

  /** As `WritableFormat.zero`: data is zeroed where it lies. */
  async zero(
    offset: number,
    length: number,
    mayDiscard: boolean,
    mustBeFast: boolean,
  ): Promise<boolean> {
    if (!this.layout.hasZeroEntries && !(await this.#canZeroInPlace(offset, length))) return false;
    await this.#forEachRun(offset, length, async (unit, count, entry) => {
      const { unitBytes } = this.layout;
      const bytes = count * unitBytes;
      if (entry > 0) await this.storage.writeZeroes(entry, bytes, mayDiscard, mustBeFast);
      else if (entry === HOLE && this.#hasBacking) return this.#storeZeroes(unit, count);
      return count;
    });
    return true;
  }

  /** Whether nothing but plain data must change for the range to read as zeros. */
  async #canZeroInPlace(offset: number, length: number): Promise<boolean> {
    let isPossible = true;
    await this.#forEachRun(offset, length, async (_unit, count, entry) => {
      if (entry === COMPRESSED || (entry === HOLE && this.#hasBacking)) isPossible = false;
      return isPossible ? count : Number.POSITIVE_INFINITY;
    });
    return isPossible;
  }

  /**
   * Makes holes zero entries, up to the first unit that is being written or has got data meanwhile:
   * what that write leaves as it was must become zero too. Answers how many.
   */
  async #storeZeroes(unit: number, count: number): Promise<number> {
    await this.tables.prepare();
    await this.tables.ensureTable(unit);
    const slice = await this.tables.slice(unit);
    const raw = Buffer.alloc(ENTRY_BYTES);
    this.layout.codec.write(raw, 0, ZERO);
    for (let at = unit; at < unit + count; at++) {
      if (this.#units.has(at) || this.tables.entry(at, slice) !== HOLE) return at - unit;
      const stored = this.tables.set(at, 1, raw);
      if (stored !== undefined) await stored;
    }
    return count;
  }

  /** As `WritableFormat.discard`: blocks of plain data are given back to the file system. */
  async discard(offset: number, length: number): Promise<void> {
    if (!this.storage.supports.discard) return;
    await this.#forEachRun(offset, length, async (_unit, count, entry) => {
      if (entry > 0) await this.storage.discard(entry, count * this.layout.unitBytes);
      return count;
    });
  }

  /** Visits the runs of whole units in order; the answer is how many units are done with. */
  async #forEachRun(
    offset: number,
    length: number,
    visit: (unit: number, count: number, entry: number) => Promise<number>,
  ): Promise<void> {
    const end = this.#unitOf(offset + length + this.layout.unitBytes - 1);
    for (let unit = this.#unitOf(offset); unit < end; ) {
      await this.#units.waitFor(unit);
      const slice = await this.tables.slice(unit);
      const entry = this.#validEntry(unit, slice);
      const count =
        slice === undefined && !this.#hasBacking
          ? this.tables.tableEnd(unit) - unit
          : this.#runCount(unit, entry, slice, Math.min(end - unit, ZERO_UNITS_MAX));
      unit += await visit(unit, Math.min(count, end - unit), entry);
    }
  }

  /** Makes the tables ready for a larger disk; the header is next. */
  async prepareGrowth(sizeBytes: number): Promise<void> {
    await this.#levelOne.extend(l1EntriesOf(this.layout, sizeBytes), this.#parts.convertLevelOne);
    await this.tables.flush();
  }

  /** A hole reads as zeros from now on: the header says so. */
  dropBacking(): void {
    this.#hasBacking = false;
  }

  /** The header says so from now on. */
  setVirtualSize(sizeBytes: number): void {
    this.#virtualSizeBytes = sizeBytes;
  }

  #validEntry(unit: number, slice: Buffer | undefined): number {
    const entry = this.tables.entry(unit, slice);
    if (entry === HOLE || entry === ZERO || entry === COMPRESSED) return entry;
    if (!this.#isData(entry)) throw this.tables.broken(unit);
    return entry;
  }

  /** Whether a whole unit of data can be at that offset. */
  #isData(offset: number): boolean {
    const { unitBytes } = this.layout;
    if (!isPlaceable(this.layout, offset, unitBytes)) return false;
    return offset + unitBytes <= roundUp(this.storage.sizeBytes, unitBytes);
  }

  #unitOf(offset: number): number {
    return Math.floor(offset / this.layout.unitBytes);
  }
}
