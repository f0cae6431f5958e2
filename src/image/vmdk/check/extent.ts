/** The tables and grains of one sparse extent, looked at twice: all together, then one by one. */

import type { ResizableStorage } from '../../../storage/storage.ts';
import type { Findings } from '../../check/findings.ts';
import type { CheckOptions } from '../../format.ts';
import { HOLE, ZERO } from '../extents/grain-tables.ts';
import { type FixedRun, fixedRuns, type Overlap, overlapsOf } from '../scan/occupied.ts';
import { isPossibleEntry, reconcile } from '../scan/reconcile.ts';
import { SectorRuns } from '../scan/sector-runs.ts';
import { type ScannedTable, scanTables, tableSectorsOf } from '../scan/table-scan.ts';
import { markClean, SECTOR_BYTES } from '../structures/sparse-header.ts';
import type { SparseLayout } from '../structures/vmdk-file.ts';
import { checkMarkers } from './markers.ts';
import { TableRepairs } from './table-repairs.ts';

/** Places that are named one by one when they are in use twice; there may be more. */
const OVERLAPS_MAX = 1000;

export interface ExtentCheckOptions {
  readonly repair: CheckOptions['repair'];
  readonly signal: AbortSignal | undefined;
  /** Hears of table numbers, upwards, in each of two passes. */
  readonly onTable: (index: number, pass: 0 | 1) => void;
}

export async function checkSparseExtent(
  storage: ResizableStorage,
  layout: SparseLayout,
  findings: Findings,
  options: ExtentCheckOptions,
): Promise<void> {
  const check = new ExtentCheck(storage, layout, findings, options);
  await check.run();
}

class ExtentCheck {
  readonly #storage: ResizableStorage;
  readonly #layout: SparseLayout;
  readonly #findings: Findings;
  readonly #options: ExtentCheckOptions;
  readonly #repairs: TableRepairs;
  readonly #tables: SectorRuns;
  readonly #grains: SectorRuns;
  readonly #grainCount: number;
  /** First sectors of grains and tables that lie over something else. */
  #badGrains = new Set<number>();
  #badTables = new Set<number>();
  /** What an extent that was not closed is taken to say. */
  #chosen: ReadonlyMap<number, number> = new Map();

  constructor(
    storage: ResizableStorage,
    layout: SparseLayout,
    findings: Findings,
    options: ExtentCheckOptions,
  ) {
    this.#storage = storage;
    this.#layout = layout;
    this.#findings = findings;
    this.#options = options;
    this.#repairs = new TableRepairs(storage, layout);
    this.#tables = new SectorRuns(tableSectorsOf(layout));
    this.#grains = new SectorRuns(layout.isCompressed ? 1 : layout.grainSectors);
    this.#grainCount = Math.ceil(layout.capacitySectors / layout.grainSectors);
  }

  async run(): Promise<void> {
    const { signal, onTable, repair } = this.#options;
    const storage = this.#storage;
    const layout = this.#layout;
    await scanTables(storage, layout, (...each) => this.#collect(...each), signal);
    this.#findOverlaps();
    if (layout.isUnclean && layout.redundantDirectorySector !== 0) {
      this.#chosen = await reconcile(storage, layout);
    }
    const judge = async (index: number, table: ScannedTable, copy: ScannedTable | undefined) => {
      onTable(index, 1);
      await this.#judge(index, table, copy);
    };
    await scanTables(storage, layout, judge, signal);
    if (layout.isCompressed) await this.#checkStream();
    else await this.#checkEnd();
    await this.#repairs.finish();
    if (repair === 'all' && layout.isUnclean) await markClean(storage);
  }

  #collect(index: number, table: ScannedTable, copy: ScannedTable | undefined): void {
    this.#options.onTable(index, 0);
    for (const each of [table, copy]) {
      if (each?.isInside && each.offset > 0) this.#tables.add(each.offset / SECTOR_BYTES);
    }
    const entries = table.entries ?? copy?.entries;
    if (entries === undefined) return;
    const count = this.#entriesOf(index);
    for (let i = 0; i < count; i++) {
      const entry = entries.readUInt32LE(i * 4);
      if (entry > ZERO && this.#isPossible(entry)) this.#grains.add(entry);
    }
  }

  #findOverlaps(): void {
    const fixed = fixedRuns(this.#layout);
    for (const { what, sector } of overlapsOf(fixed, this.#tables)) {
      this.#badTables.add(sector);
      this.#findings.corruption(
        `${what} at offset ${sector * SECTOR_BYTES} of "${this.#storage.name}"`,
        false,
      );
    }
    if (this.#layout.isCompressed) return;
    this.#badGrains = this.#grains.overlapping(OVERLAPS_MAX);
    for (const { what, sector } of this.#grainsOver(fixed)) {
      if (this.#badGrains.has(sector)) continue;
      this.#badGrains.add(sector);
      this.#findings.corruption(
        `${what} at offset ${sector * SECTOR_BYTES} of "${this.#storage.name}"`,
        false,
      );
    }
  }

  #grainsOver(fixed: readonly FixedRun[]): Overlap[] {
    const found: Overlap[] = [];
    for (const { what, begin, sectors } of fixed) {
      const sector = this.#grains.find(begin, sectors);
      if (sector !== undefined) found.push({ what: `a grain lies over the ${what}`, sector });
    }
    for (const table of this.#tables.sorted()) {
      if (found.length >= OVERLAPS_MAX) break;
      const sector = this.#grains.find(table, this.#tables.length);
      if (sector !== undefined) found.push({ what: 'a grain lies over a grain table', sector });
    }
    return found;
  }

  async #judge(index: number, table: ScannedTable, copy: ScannedTable | undefined): Promise<void> {
    const isGood = (each: ScannedTable) =>
      each.entries !== undefined && !this.#badTables.has(each.offset / SECTOR_BYTES);
    const where = `of grain table ${index} of "${this.#storage.name}"`;
    if (!table.isInside) {
      const isMended = copy !== undefined && isGood(copy) && this.#options.repair === 'all';
      const message = `the place ${table.offset} ${where} is not inside the file`;
      this.#findings.corruption(message, isMended);
      if (isMended && copy?.entries) await this.#repairs.newTable(index, copy.entries, false);
      return;
    }
    if (copy !== undefined && (!copy.isInside || (copy.offset === 0) !== (table.offset === 0))) {
      await this.#judgeCopyPlace(index, table, copy, where);
      return;
    }
    if (table.entries === undefined) return;
    this.#judgeEntries(index, table.entries, copy?.entries);
    await this.#repairs.writeTables(table, copy);
  }

  /** The directory and its copy do not agree on whether there is a table: the directory counts. */
  async #judgeCopyPlace(
    index: number,
    table: ScannedTable,
    copy: ScannedTable,
    where: string,
  ): Promise<void> {
    const isMended = this.#options.repair !== undefined;
    const message = `the place ${copy.offset} of the copy ${where} is not one`;
    if (copy.isInside) this.#findings.leak(message, 1, isMended);
    else this.#findings.corruption(message, isMended);
    if (table.entries !== undefined) this.#judgeEntries(index, table.entries, undefined);
    if (!isMended) return;
    if (table.entries === undefined) this.#repairs.noTable(index, true);
    else await this.#repairs.newTable(index, table.entries, true);
  }

  #judgeEntries(index: number, entries: Buffer, copies: Buffer | undefined): void {
    const count = this.#entriesOf(index);
    for (let i = 0; i < count; i++) {
      const grain = index * this.#layout.entriesPerTable + i;
      const entry = entries.readUInt32LE(i * 4);
      const copy = copies?.readUInt32LE(i * 4);
      if (entry > ZERO) this.#countGrain(entry);
      const hasProblem = entry > HOLE && !this.#isSound(grain, entry);
      if (hasProblem) this.#judgeEntry(grain, i, entry, copy, entries, copies);
      else if (copy !== undefined && copy !== entry) {
        this.#judgeDifference(grain, i, entry, copy, entries, copies);
      }
    }
  }

  #judgeEntry(
    grain: number,
    i: number,
    entry: number,
    copy: number | undefined,
    entries: Buffer,
    copies: Buffer | undefined,
  ): void {
    const { grainSectors } = this.#layout;
    const isOther = copy !== undefined && copy !== entry && copies !== undefined;
    const isFree =
      isOther && this.#isSound(grain, copy) && this.#grains.find(copy, grainSectors) === undefined;
    // A copy that says nothing is not known to be right: the grain may have been lost there.
    const isMended = this.#options.repair === 'all' && isFree && copy > HOLE;
    this.#findings.corruption(`${this.#nameOf(grain)} is at ${this.#causeOf(entry)}`, isMended);
    if (!isMended) return;
    entries.writeUInt32LE(copy, i * 4);
    this.#repairs.tableIsChanged = true;
  }

  #judgeDifference(
    grain: number,
    i: number,
    entry: number,
    copy: number,
    entries: Buffer,
    copies: Buffer | undefined,
  ): void {
    const { repair } = this.#options;
    const chosen = this.#chosen.get(grain) ?? entry;
    const isMended = repair === 'all' || (repair === 'leaks' && chosen === entry);
    const places = `${this.#nameOf(grain)} is at sector ${entry}, and at ${copy} in the copy`;
    this.#findings.leak(`${places} of its table`, 1, isMended);
    if (!isMended) return;
    entries.writeUInt32LE(chosen, i * 4);
    copies?.writeUInt32LE(chosen, i * 4);
    this.#repairs.copyIsChanged = true;
    if (chosen !== entry) this.#repairs.tableIsChanged = true;
  }

  #countGrain(sector: number): void {
    const { grainSectors, isCompressed } = this.#layout;
    if (isCompressed) this.#findings.compressedUnits++;
    // Compressed grains lie where the one before ends, wherever that is.
    this.#findings.unit(isCompressed ? 0 : sector, isCompressed ? 0 : grainSectors);
  }

  /** Grains behind the last one that is named can be cut off. */
  async #checkEnd(): Promise<void> {
    const { grainSectors, overheadSectors } = this.#layout;
    const grainBytes = grainSectors * SECTOR_BYTES;
    const lastGrain = this.#grains.sorted().at(-1) ?? 0;
    const lastTable = this.#tables.sorted().at(-1) ?? 0;
    const fixedEnds = fixedRuns(this.#layout).map(({ begin, sectors }) => begin + sectors);
    const ends = [overheadSectors, lastTable + this.#tables.length, ...fixedEnds];
    if (lastGrain > 0) ends.push(lastGrain + grainSectors);
    const end = Math.ceil((Math.max(...ends) * SECTOR_BYTES) / grainBytes) * grainBytes;
    const count = Math.floor((this.#storage.sizeBytes - end) / grainBytes);
    if (count < 1 || this.#badGrains.size > 0 || this.#badTables.size > 0) return;
    const mayCut = this.#options.repair !== undefined && !this.#repairs.hasGrown;
    const where = `from offset ${end} of "${this.#storage.name}" on`;
    this.#findings.leak(`${count} grains ${where} are in no table`, count, mayCut);
    if (mayCut) await this.#storage.resize(end);
  }

  async #checkStream(): Promise<void> {
    await checkMarkers({
      storage: this.#storage,
      layout: this.#layout,
      tables: this.#tables,
      findings: this.#findings,
      signal: this.#options.signal,
    });
  }

  /** Entries behind the end of the disk mean nothing. */
  #entriesOf(index: number): number {
    const { entriesPerTable } = this.#layout;
    return Math.min(entriesPerTable, this.#grainCount - index * entriesPerTable);
  }

  #isPossible(entry: number): boolean {
    return isPossibleEntry(entry, this.#layout, this.#storage.sizeBytes);
  }

  /** Whether a grain can be there, whole as far as the disk needs it, and is alone there. */
  #isSound(grain: number, entry: number): boolean {
    if (!this.#isPossible(entry)) return false;
    if (entry <= ZERO) return true;
    if (this.#badGrains.has(entry)) return false;
    const { isCompressed, grainSectors, capacitySectors } = this.#layout;
    const sectors = Math.min(grainSectors, capacitySectors - grain * grainSectors);
    return isCompressed || (entry + sectors) * SECTOR_BYTES <= this.#storage.sizeBytes;
  }

  #nameOf(grain: number): string {
    const offset = grain * this.#layout.grainSectors * SECTOR_BYTES;
    return `the grain of guest offset ${offset} of "${this.#storage.name}"`;
  }

  #causeOf(entry: number): string {
    if (entry === ZERO) return 'sector 1, which means zeros, but the header allows no such marks';
    if (this.#badGrains.has(entry)) return `sector ${entry}, where something else is as well`;
    const isEarly = entry < this.#layout.overheadSectors;
    return `sector ${entry}, which is ${isEarly ? 'among the tables' : 'not inside the file'}`;
  }
}
