/** Ranges that read as zeros, or are not needed any more: entries change, data do not move. */

import {
  entryIndexOf,
  type Qcow2Disk,
  readEntryOrThrow,
  sliceOffsetOf,
  tableOffsetOf,
} from '../reads/disk.ts';
import type { FreedClusters } from '../space/freed-clusters.ts';
import type { MetadataMap } from '../space/metadata-map.ts';
import { isRawDataFile } from '../structures/header.ts';
import type { HeaderFile } from '../structures/header-file.ts';
import { type L2Entry, newEntry, writeEntry } from '../structures/l2-entry.ts';
import type { InFlight } from './in-flight.ts';
import type { L2Tables } from './l2-tables.ts';

export interface ZeroingOptions {
  readonly disk: Qcow2Disk;
  readonly header: HeaderFile;
  readonly tables: L2Tables;
  readonly freed: FreedClusters;
  readonly inFlight: InFlight;
  readonly metadata: MetadataMap;
  /** Waits while too much of the tables is only in memory; undefined when there is no need. */
  readonly paced: () => Promise<void> | undefined;
  /** Hears that the bytes of a table were to be given up. */
  readonly onDamage: () => void;
}

/** What is done to each cluster. */
interface Wish {
  /** Zeros are wanted: what is not stored is stored as zeros where something shows through it. */
  readonly isZero: boolean;
  /** Space is given up. */
  readonly mayFree: boolean;
  /** The clusters are no part of the disk any more: nothing is stored of them. Default false. */
  readonly isGone?: boolean;
}

export class Zeroing {
  readonly #options: ZeroingOptions;
  readonly #entry: L2Entry = newEntry();

  constructor(options: ZeroingOptions) {
    this.#options = options;
  }

  /** See `WritableFormat.zero`. */
  async zero(offset: number, length: number, mayDiscard: boolean): Promise<boolean> {
    const { disk, header } = this.#options;
    if (isRawDataFile(header.header)) {
      await disk.dataStorage.writeZeroes(offset, length, mayDiscard);
      return true;
    }
    // Version 2 has no zeros of its own, only holes; and those keep no space.
    if (!disk.geometry.hasZeroFlag && (this.#hasBacking || !mayDiscard)) return false;
    await this.#change(offset, length, { isZero: true, mayFree: mayDiscard });
    return true;
  }

  /** See `WritableFormat.discard`. */
  async discard(offset: number, length: number): Promise<void> {
    const { disk, header } = this.#options;
    if (isRawDataFile(header.header)) {
      await disk.dataStorage.writeZeroes(offset, length, true);
      return;
    }
    if (!disk.geometry.hasZeroFlag && this.#hasBacking) return;
    await this.#change(offset, length, { isZero: false, mayFree: true });
  }

  /** Forgets what is stored of a range that is behind the end of the disk; whole clusters. */
  forget(offset: number, length: number): Promise<void> {
    const wish = { isZero: false, mayFree: true, isGone: true };
    return this.#change(offset, length, wish, offset + length);
  }

  get #hasBacking(): boolean {
    return this.#options.header.header.backingName !== undefined;
  }

  /**
   * A file that is as long as the disk needs no space back: its clusters stay where they are, and
   * only their bytes are given up, so that the next write finds them side by side as they were.
   */
  get #isPresized(): boolean {
    const { disk, header } = this.#options;
    if (disk.geometry.hasDataFile) return true;
    if (!disk.geometry.hasZeroFlag || header.header.snapshotCount > 0) return false;
    return disk.storage.sizeBytes >= disk.virtualSizeBytes;
  }

  async #change(
    offset: number,
    length: number,
    wish: Wish,
    diskEnd = this.#options.disk.virtualSizeBytes,
  ): Promise<void> {
    const { disk, paced } = this.#options;
    const { sliceEntries, clusterBytes, tableCoverageBytes } = disk.geometry;
    const sliceCoverage = sliceEntries * clusterBytes;
    const end = Math.min(offset + length, diskEnd);
    for (let at = offset; at < end; ) {
      if (tableOffsetOf(disk, at) === 0 && !(wish.isZero && this.#hasBacking)) {
        // Holes that nothing shows through, as far as a whole table would reach.
        at = at - (at % tableCoverageBytes) + tableCoverageBytes;
        continue;
      }
      const pause = paced();
      if (pause !== undefined) await pause;
      const next = Math.min(end, at - (at % sliceCoverage) + sliceCoverage);
      await this.#changeInSlice(at, next, wish);
      at = next;
    }
  }

  async #changeInSlice(offset: number, end: number, wish: Wish): Promise<void> {
    const { disk, tables, inFlight } = this.#options;
    const { clusterBytes } = disk.geometry;
    const first = Math.floor(offset / clusterBytes);
    const last = Math.ceil(end / clusterBytes);
    for (;;) {
      const held = inFlight.find(first, last);
      if (held !== undefined) {
        await held.released;
        continue;
      }
      const table = tables.own(offset);
      if (table === 0) {
        await tables.make(offset);
        continue;
      }
      const sliceOffset = sliceOffsetOf(disk, table, entryIndexOf(disk, offset));
      if (disk.l2.get(sliceOffset) === undefined) {
        await disk.l2.load(sliceOffset);
        continue;
      }
      const range = inFlight.begin(first, last);
      try {
        await this.#changeHeld(sliceOffset, first, last, wish);
      } finally {
        inFlight.end(range);
      }
      return;
    }
  }

  /** Bytes that stay where they are go before the entries change, while nobody can write new ones. */
  async #changeHeld(sliceOffset: number, first: number, last: number, wish: Wish): Promise<void> {
    const { disk } = this.#options;
    if (wish.mayFree && !this.#frees(wish)) await this.#giveUpBytes(sliceOffset, first, last);
    for (;;) {
      const slice = disk.l2.get(sliceOffset);
      if (slice === undefined) {
        await disk.l2.load(sliceOffset);
        continue;
      }
      let isChanged = false;
      for (let cluster = first; cluster < last; cluster++) {
        if (this.#changeEntry(slice, sliceOffset, cluster, wish)) isChanged = true;
      }
      if (isChanged) disk.l2.markDirty(sliceOffset);
      return;
    }
  }

  /** Whether the entry is another one now. */
  #changeEntry(slice: Buffer, sliceOffset: number, cluster: number, wish: Wish): boolean {
    const { disk, freed } = this.#options;
    const { geometry } = disk;
    const { clusterBytes, entryBytes, hasDataFile, subclusters } = geometry;
    const entry = this.#entry;
    const index = entryIndexOf(disk, cluster * clusterBytes) % geometry.sliceEntries;
    readEntryOrThrow(disk, slice, sliceOffset, index, entry);
    const { isCompressed, hasHost, isCopied, hostOffset, allocated, zero } = entry;
    const all = subclusters === 1 ? 1 : -1;
    const isNothing = !hasHost && zero === 0;
    if (isNothing && !(wish.isZero && this.#hasBacking)) return false;
    const isKept = hasHost && !isCompressed && (isCopied || hasDataFile) && !this.#frees(wish);
    const isZeroAlready = (zero | 0) === all && allocated === 0 && wish.isGone !== true;
    if (isZeroAlready && (isKept || !hasHost)) return false;
    // A discard reveals nothing: holes among the subclusters stay what they are.
    const reading = wish.isZero || isCompressed ? all : allocated | zero;
    const zeroed = wish.isGone === true || !geometry.hasZeroFlag ? 0 : reading;
    writeEntry(slice, index * entryBytes, geometry, {
      hostOffset: isKept ? hostOffset : 0,
      hasHost: isKept,
      isCopied: isKept,
      allocated: 0,
      zero: zeroed,
    });
    if (hasHost && !isKept && !hasDataFile) {
      freed.add(hostOffset, isCompressed ? entry.storedBytesMax : clusterBytes);
    }
    return true;
  }

  #frees({ mayFree, isGone }: Wish): boolean {
    return isGone === true || (mayFree && !this.#isPresized);
  }

  async #giveUpBytes(sliceOffset: number, first: number, last: number): Promise<void> {
    const { disk, metadata, onDamage } = this.#options;
    const storage = disk.dataStorage;
    // What is enciphered must not read as zeros: those would decipher to noise.
    if (!storage.supports.discard || disk.cipher !== undefined) return;
    const runs = this.#ownRuns(disk.l2.get(sliceOffset), sliceOffset, first, last);
    if (!disk.geometry.hasDataFile) {
      for (const { offset, length } of runs) {
        metadata.checkData(offset, length, disk.name, onDamage);
      }
    }
    for (const { offset, length } of runs) {
      const inside = Math.min(length, storage.sizeBytes - offset);
      if (inside > 0) await storage.discard(offset, inside);
    }
  }

  /** The space of the clusters that nobody else has, joined where it is. */
  #ownRuns(slice: Buffer | undefined, sliceOffset: number, first: number, last: number) {
    const { disk } = this.#options;
    const { clusterBytes, sliceEntries, hasDataFile } = disk.geometry;
    const runs: { offset: number; length: number }[] = [];
    if (slice === undefined) return runs;
    const entry = this.#entry;
    for (let cluster = first; cluster < last; cluster++) {
      const index = entryIndexOf(disk, cluster * clusterBytes) % sliceEntries;
      readEntryOrThrow(disk, slice, sliceOffset, index, entry);
      if (!entry.hasHost || entry.isCompressed || entry.allocated === 0) continue;
      if (!entry.isCopied && !hasDataFile) continue;
      const run = runs[runs.length - 1];
      if (run !== undefined && run.offset + run.length === entry.hostOffset) {
        run.length += clusterBytes;
      } else {
        runs.push({ offset: entry.hostOffset, length: clusterBytes });
      }
    }
    return runs;
  }
}
