/**
 * The walk from L1 tables to data: which clusters the disk and its snapshots refer to. A table that
 * many refer to is read once and counts as often; otherwise a small file could keep us busy for
 * years, and a disk with many snapshots for as many times as long.
 */

import { messageOf } from '../../../lib/errors.ts';
import type { ResizableStorage } from '../../../storage/storage.ts';
import type { CheckOptions } from '../../format.ts';
import { readPadded } from '../../tables/read-padded.ts';
import type { Geometry } from '../structures/geometry.ts';
import { SECTOR_BYTES } from '../structures/layout.ts';
import type { ClusterCounts } from './cluster-counts.ts';
import type { Findings } from './findings.ts';
import type { Marks } from './marks.ts';
import { countPlain, type PlainParts } from './plain.ts';
import { type SweptTable, sweepTables } from './table-sweep.ts';

const TWO_32 = 2 ** 32;
const COPIED = 0x8000_0000;
const COMPRESSED = 0x4000_0000;
const OFFSET_HIGH = 0x00ff_ffff;
const L1_RESERVED_HIGH = 0x7f00_0000;
const L2_RESERVED_HIGH = 0x3f00_0000;
/** Not the zero flag: version 2 has none, but nobody reports it there. */
const L2_RESERVED_LOW = 0x1fe;
const L1_PIECE_BYTES = 1 << 20;

/** What a walk counts of the active disk. */
export interface TableTotals {
  allocated: number;
  compressed: number;
  fragmented: number;
  /**
   * Where the next cluster would be, were the disk in one piece; 0 where a table begins. Only while
   * tables are read.
   */
  contiguous: number;
}

/** Where an L1 table is, of the active disk or of a snapshot. */
export interface L1Place {
  readonly offset: number;
  readonly entries: number;
}

/** The distinct L2 tables in ascending order, and how often each is referred to. */
export interface L2Tables {
  readonly offsets: Float64Array;
  /** By the active disk, and by all disks. */
  readonly activeTimes: Uint32Array;
  readonly times: Uint32Array;
}

export interface TableWalkParts {
  readonly storage: ResizableStorage;
  readonly geometry: Geometry;
  readonly marks: Marks;
  /** The counts that the image keeps; flags of the active disk are held against them. */
  readonly stored: ClusterCounts;
  readonly findings: Findings;
}

export class TableWalk {
  readonly totals: TableTotals = { allocated: 0, compressed: 0, fragmented: 0, contiguous: 0 };
  /** Entries that `mendEntries` can mend. */
  mendable = 0;
  /** Those that were taken in. */
  readonly l1Tables: L1Place[] = [];
  readonly #parts: TableWalkParts;
  /** Offsets of L2 tables, plus one where the active disk refers to it. */
  #found = new Float64Array(1024);
  #foundCount = 0;
  #l1Bytes = 0;

  constructor(parts: TableWalkParts) {
    this.#parts = parts;
  }

  /** Takes in an L1 table. Tables together are no longer than the file, or they overlap. */
  async addL1(offset: number, entries: number, isActive: boolean): Promise<void> {
    const { storage, marks, findings } = this.#parts;
    const length = entries * 8;
    this.#l1Bytes += length;
    // Before it is counted as well: a thousand snapshots could say the same long table.
    if (!isActive && this.#l1Bytes > marks.fileBytes) {
      findings.corruption('the L1 table', offset, 'overlaps with others');
      findings.isIncomplete = true;
      return;
    }
    this.l1Tables.push({ offset, entries });
    if (!marks.mark(offset, length, 1, 'an L1 table')) findings.isIncomplete = true;
    const end = Math.min(offset + length, storage.sizeBytes);
    const piece = Buffer.allocUnsafeSlow(Math.max(0, Math.min(L1_PIECE_BYTES, end - offset)));
    for (let at = offset; at < end; at += piece.length) {
      const bytes = Math.min(piece.length, end - at);
      try {
        await readPadded(storage, piece, 0, bytes, at);
      } catch (cause) {
        findings.error(`the L1 table at ${at} could not be read: ${messageOf(cause)}`);
        return;
      }
      this.#takeEntries(piece, bytes - (bytes % 8), at, isActive);
    }
  }

  #takeEntries(piece: Buffer, bytes: number, offset: number, isActive: boolean): void {
    const words = new Int32Array(piece.buffer, piece.byteOffset, bytes >>> 2);
    for (let at = 0; at < bytes; at += 8) {
      if ((words[at >>> 2]! | words[(at >>> 2) + 1]!) === 0) continue;
      const high = piece.readUInt32BE(at);
      const low = piece.readUInt32BE(at + 4);
      const tableHigh = high & OFFSET_HIGH;
      const tableLow = low - (low % SECTOR_BYTES);
      if (tableHigh === 0 && tableLow === 0) {
        this.#parts.findings.corruption('the L1 entry', offset + at, 'points to no table');
        this.#parts.findings.isIncomplete = true;
        continue;
      }
      this.#takeTable(tableHigh * TWO_32 + tableLow, high, low, offset + at, isActive);
    }
  }

  #takeTable(table: number, high: number, low: number, entryAt: number, isActive: boolean): void {
    const { marks, findings, geometry, stored } = this.#parts;
    if ((high & L1_RESERVED_HIGH) !== 0 || low % SECTOR_BYTES !== 0) {
      findings.corruption('the L1 entry', entryAt, 'has reserved bits set');
      this.mendable++;
    }
    const isInside = marks.mark(table, geometry.clusterBytes, 1, 'an L2 table');
    if (table % geometry.clusterBytes !== 0) {
      findings.corruption('the L1 entry', entryAt, 'does not point to where a cluster begins');
      findings.isIncomplete = true;
      return;
    }
    const cluster = table / geometry.clusterBytes;
    const isOne = cluster < stored.clusters && stored.get(cluster) === 1;
    if (isActive && isOne !== high >= COPIED) {
      findings.corruption('the L1 entry', entryAt, 'is flagged wrongly for its refcount');
    }
    // The file may have been cut: what the table refers to is all that is left of it.
    if (!isInside) {
      findings.isIncomplete = true;
      return;
    }
    if (this.#foundCount === this.#found.length) {
      const longer = new Float64Array(this.#foundCount * 2);
      longer.set(this.#found);
      this.#found = longer;
    }
    this.#found[this.#foundCount++] = table + (isActive ? 1 : 0);
  }

  /** Reads all L2 tables that the L1 tables refer to, and counts what they refer to. */
  async readL2(options: Pick<CheckOptions, 'onProgress' | 'signal'>): Promise<L2Tables> {
    const tables = distinct(this.#found.subarray(0, this.#foundCount).sort());
    const { storage, geometry, findings, marks, stored } = this.#parts;
    const { clusterBits, clusterBytes, subclusters, hasDataFile } = geometry;
    const clusters = Math.ceil(marks.fileBytes / clusterBytes);
    const plain = { marks: marks.counts, stored, clusters, clusterBits };
    const { times, activeTimes, offsets } = tables;
    await sweepTables({
      storage,
      offsets,
      tableBytes: clusterBytes,
      visit: (table) => {
        const { index } = table;
        const isOnce = times[index] === 1 && activeTimes[index] === 1;
        const isPlain = isOnce && subclusters === 1 && !hasDataFile;
        this.#visit(table, offsets[index]!, times[index]!, activeTimes[index]!, isPlain && plain);
        return false;
      },
      onFailure: (first, _end, cause) => {
        findings.error(`L2 tables from ${tables.offsets[first]} on: ${cause.message}`);
      },
      ...options,
    });
    return tables;
  }

  #visit(
    { bytes, words, at }: SweptTable,
    tableOffset: number,
    times: number,
    activeTimes: number,
    plain: PlainParts | false,
  ): void {
    const { geometry } = this.#parts;
    const isExtended = geometry.subclusters > 1;
    const entryWords = isExtended ? 4 : 2;
    const first = at >>> 2;
    const end = first + (geometry.clusterBytes >>> 2);
    this.totals.contiguous = 0;
    bytes.subarray(at, at + geometry.clusterBytes).swap64();
    for (let word = first; word < end; word += entryWords) {
      if (plain !== false) {
        word = countPlain(words, word, end, plain, this.totals);
        if (word === end) return;
      }
      const low = words[word]! >>> 0;
      const high = words[word + 1]! >>> 0;
      const data = isExtended ? words[word + 2]! : 0;
      const zeros = isExtended ? words[word + 3]! : 0;
      if ((high | low | zeros | data) === 0) continue;
      const entryAt = tableOffset + (word - first) * 4;
      if ((high & COMPRESSED) !== 0) {
        this.#compressed(high, low, (zeros | data) !== 0, entryAt, times, activeTimes);
      } else {
        this.#standard(high, low, zeros, data, entryAt, times, activeTimes);
      }
    }
  }

  /** An entry that is not compressed, with the bitmaps of its subclusters. */
  #standard(
    high: number,
    low: number,
    zeros: number,
    data: number,
    entryAt: number,
    times: number,
    activeTimes: number,
  ): void {
    const { geometry, marks, findings } = this.#parts;
    const { clusterBytes, hasDataFile } = geometry;
    const isExtended = geometry.subclusters > 1;
    if ((high & L2_RESERVED_HIGH) !== 0 || (low & L2_RESERVED_LOW) !== 0) {
      findings.corruption('the L2 entry', entryAt, 'has reserved bits set', times);
      this.mendable++;
    }
    const offset = (high & OFFSET_HIGH) * TWO_32 + (low - (low % SECTOR_BYTES));
    const isZero = !isExtended && (low & 1) !== 0;
    // With a data file the first cluster is at zero, and only the flag says that it is there.
    if (offset === 0 && (isZero || !hasDataFile || high < COPIED)) {
      if (data === 0) return;
      findings.corruption('the L2 entry', entryAt, 'has data that are nowhere', times);
      return;
    }
    // Its cluster counts all the same: given back as a leak, another could have it.
    if ((zeros & data) !== 0) {
      findings.corruption('the L2 entry', entryAt, 'says of one part both zeros and data', times);
    }
    if (offset % clusterBytes !== 0) {
      const isMendable = isExtended ? data === 0 : isZero;
      if (isMendable) this.mendable++;
      findings.corruption(
        'the L2 entry',
        entryAt,
        'does not point to where a cluster begins',
        times,
      );
    }
    if (activeTimes > 0) this.#active(high, offset, entryAt, activeTimes);
    if (!hasDataFile) marks.mark(offset, clusterBytes, times, 'a cluster');
  }

  /** The totals, and the flag of an entry of the active disk. */
  #active(high: number, offset: number, entryAt: number, times: number): void {
    const { geometry, marks, stored, findings } = this.#parts;
    const { totals } = this;
    totals.allocated += times;
    const next = totals.contiguous;
    if (next !== 0 && offset !== next) totals.fragmented += times;
    totals.contiguous = offset + geometry.clusterBytes;
    let isOne = geometry.hasDataFile;
    if (!isOne && offset < marks.fileBytes) {
      isOne = stored.get(Math.floor(offset / geometry.clusterBytes)) === 1;
    }
    if (isOne === high >= COPIED) return;
    findings.corruption('the L2 entry', entryAt, 'is flagged wrongly for its refcount', times);
  }

  #compressed(
    high: number,
    low: number,
    hasBitmap: boolean,
    entryAt: number,
    times: number,
    activeTimes: number,
  ): void {
    const { geometry, marks, findings } = this.#parts;
    const { totals } = this;
    if (high >= COPIED) {
      findings.corruption('the compressed L2 entry', entryAt, 'is flagged as not shared', times);
      this.mendable++;
    }
    if (geometry.hasDataFile || hasBitmap) {
      const where = geometry.hasDataFile ? 'with a data file' : 'with a bitmap of subclusters';
      findings.corruption('the L2 entry', entryAt, `is compressed ${where}`, times);
      if (geometry.hasDataFile) return;
    }
    const offsetBitsHigh = 38 - geometry.clusterBits;
    const offset = (high & (2 ** offsetBitsHigh - 1)) * TWO_32 + low;
    const sectors = ((high & 0x3fff_ffff) >>> offsetBitsHigh) + 1;
    marks.mark(offset, sectors * SECTOR_BYTES - (low % SECTOR_BYTES), times, 'compressed data');
    totals.allocated += activeTimes;
    totals.compressed += activeTimes;
    // Compressed clusters share sectors, so each is a request of its own.
    totals.fragmented += activeTimes;
  }
}

/** Each table once, from a sorted list of offsets to which the active disk's add one. */
function distinct(sorted: Float64Array): L2Tables {
  const offsets = new Float64Array(sorted.length);
  const times = new Uint32Array(sorted.length);
  const activeTimes = new Uint32Array(sorted.length);
  let count = 0;
  for (const found of sorted) {
    const active = found % 2;
    const offset = found - active;
    if (count === 0 || offsets[count - 1] !== offset) offsets[count++] = offset;
    times[count - 1]! += 1;
    activeTimes[count - 1]! += active;
  }
  return {
    offsets: offsets.slice(0, count),
    times: times.slice(0, count),
    activeTimes: activeTimes.slice(0, count),
  };
}
