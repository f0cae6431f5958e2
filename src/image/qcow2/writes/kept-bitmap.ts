/** One persistent dirty bitmap in memory, and its table and bits on the storage. */

import { readUInt64BE, writeUInt64BE } from '../../../lib/uint64.ts';
import type { ResizableStorage } from '../../../storage/storage.ts';
import { readPadded } from '../../tables/read-padded.ts';
import { BITMAP_FLAG, type Bitmap } from '../structures/bitmaps.ts';
import type { Qcow2Header } from '../structures/header.ts';

/** Where the fields of a directory entry are. */
const ENTRY = { tableOffset: 0, tableEntries: 8, flags: 12 } as const;
const SECTOR_MASK = 511;
/** A table entry that stands for a cluster of ones without having it. */
const ALL_ONES = 1;

/** How bitmaps get at clusters, and when what was done with them is durable. */
export interface BitmapSpace {
  /** Clusters side by side of their own: where they are. */
  allocate(clusters: number): Promise<number>;
  /** Nothing durable names these bytes any more. */
  free(offset: number, length: number): void;
  /** Everything written and allocated so far is durable when it resolves. */
  sync(): Promise<void>;
}

/** Bytes of a bitmap that long. */
export function bitmapBytes(sizeBytes: number, { granularityBytes }: Bitmap): number {
  return Math.ceil(Math.ceil(sizeBytes / granularityBytes) / 8);
}

export class KeptBitmap {
  readonly bitmap: Bitmap;
  readonly #storage: ResizableStorage;
  readonly #clusterBytes: number;
  /** Where its entry of the directory is, on the storage. */
  readonly #entryOffset: number;
  #tableOffset: number;
  /** The lowest bit of the first byte is the first part of the disk; none behind its end is set. */
  #bits: Buffer;
  /** What the table says of each cluster of bits: where it is, 0 for none, or `ALL_ONES`. */
  #table: Float64Array;
  /** Clusters of bits that changed since they were read. */
  #isChanged: Uint8Array;
  /** Whether it is known what all of its entry of the directory says. */
  #isEntryKnown = true;

  private constructor(
    storage: ResizableStorage,
    clusterBytes: number,
    directoryOffset: number,
    bitmap: Bitmap,
    bits: Buffer,
    table: Float64Array,
  ) {
    this.bitmap = bitmap;
    this.#storage = storage;
    this.#clusterBytes = clusterBytes;
    this.#entryOffset = directoryOffset + bitmap.entryAt;
    this.#tableOffset = bitmap.tableOffset;
    this.#bits = bits;
    this.#table = table;
    this.#isChanged = new Uint8Array(table.length);
  }

  /** Undefined for a table that is not one of a disk of this size. */
  static async read(
    storage: ResizableStorage,
    { clusterBytes, sizeBytes }: Qcow2Header,
    directoryOffset: number,
    bitmap: Bitmap,
  ): Promise<KeptBitmap | undefined> {
    const bits = Buffer.alloc(bitmapBytes(sizeBytes, bitmap));
    const entries = Math.ceil(bits.length / clusterBytes);
    if (entries !== bitmap.tableEntries) return undefined;
    const bytes = Buffer.alloc(entries * 8);
    await readPadded(storage, bytes, 0, bytes.length, bitmap.tableOffset);
    const table = new Float64Array(entries);
    for (let index = 0; index < entries; index++) {
      const low = bytes.readUInt32BE(index * 8 + 4) & SECTOR_MASK;
      const offset = readUInt64BE(bytes, index * 8) - low;
      const start = index * clusterBytes;
      const length = Math.min(clusterBytes, bits.length - start);
      const isInside = offset % clusterBytes === 0 && offset < storage.sizeBytes;
      if (low > ALL_ONES || (offset !== 0 && (low !== 0 || !isInside))) return undefined;
      table[index] = offset + low;
      if (offset !== 0) await readPadded(storage, bits, start, length, offset);
      else bits.fill(low === ALL_ONES ? 0xff : 0, start, start + length);
    }
    return new KeptBitmap(storage, clusterBytes, directoryOffset, bitmap, bits, table);
  }

  /** In memory. */
  get bytes(): number {
    return this.#bits.length + this.#table.length * 9;
  }

  /** The range of the disk is being changed. */
  noteWrite(offset: number, length: number): void {
    const { granularityBytes } = this.bitmap;
    const last = Math.floor((offset + length - 1) / granularityBytes);
    for (let bit = Math.floor(offset / granularityBytes); bit <= last; bit++) {
      const at = Math.floor(bit / 8);
      const mask = 1 << (bit % 8);
      if ((this.#bits[at]! & mask) !== 0) continue;
      this.#bits[at]! |= mask;
      this.#isChanged[Math.floor(at / this.#clusterBytes)] = 1;
    }
  }

  /**
   * Durably gives it a table for a disk of another size, of which it forgets what is behind its end.
   * It is marked as in use, and stays as it was when there is no space for a larger table.
   */
  async resize(sizeBytes: number, space: BitmapSpace): Promise<void> {
    const bits = Buffer.alloc(bitmapBytes(sizeBytes, this.bitmap));
    const table = new Float64Array(Math.ceil(bits.length / this.#clusterBytes));
    const old = this.#table;
    if (table.length > old.length) await this.#growTable(table.length, space);
    if (table.length !== old.length) {
      const entries = Buffer.alloc(4);
      entries.writeUInt32BE(table.length);
      await this.#writeEntry(entries, ENTRY.tableEntries);
    }
    this.#bits.copy(bits);
    clearFrom(bits, Math.ceil(sizeBytes / this.bitmap.granularityBytes));
    const shared = Math.min(table.length, old.length);
    table.set(old.subarray(0, shared));
    const isChanged = new Uint8Array(table.length);
    isChanged.set(this.#isChanged.subarray(0, shared));
    // Its last cluster has more bits from now on, or fewer. There are none of a cluster of zeros.
    if (table[shared - 1] !== 0) isChanged[shared - 1] = 1;
    this.#bits = bits;
    this.#table = table;
    this.#isChanged = isChanged;
    if (table.length < old.length) this.#freeBehind(old, table.length, space);
  }

  /** Writes what changed, into clusters that nothing durable names where there were none. */
  async storeBits(space: BitmapSpace): Promise<void> {
    const entries: number[] = [];
    const cluster = Buffer.alloc(this.#clusterBytes);
    try {
      for (let index = 0; index < this.#table.length; index++) {
        if (this.#isChanged[index] === 0) continue;
        let offset = this.#table[index]!;
        if (offset <= ALL_ONES) {
          offset = await space.allocate(1);
          entries.push(index, offset);
        }
        cluster.fill(0);
        this.#bits.copy(cluster, 0, index * cluster.length, (index + 1) * cluster.length);
        await this.#storage.write(cluster, 0, cluster.length, offset);
      }
    } catch (cause) {
      for (let at = 1; at < entries.length; at += 2) space.free(entries[at]!, cluster.length);
      throw cause;
    }
    for (let at = 0; at < entries.length; at += 2) this.#table[entries[at]!] = entries[at + 1]!;
  }

  /** Names what `storeBits` wrote, when that is durable; answers whether there was anything. */
  async storeTable(): Promise<boolean> {
    if (!this.#isChanged.includes(1)) return false;
    const bytes = this.#encodeTable(this.#table.length);
    await this.#storage.write(bytes, 0, bytes.length, this.#tableOffset);
    this.#isChanged.fill(0);
    return true;
  }

  /** Not durable until the next sync. What cannot be relied on stays marked. */
  async mark(isInUse: boolean): Promise<void> {
    if (!isInUse && !this.#isEntryKnown) return;
    const flags = Buffer.alloc(4);
    const at = this.#entryOffset + ENTRY.flags;
    await this.#storage.read(flags, 0, 4, at);
    const others = flags.readUInt32BE() & ~BITMAP_FLAG.inUse;
    flags.writeUInt32BE((others | (isInUse ? BITMAP_FLAG.inUse : 0)) >>> 0);
    await this.#storage.write(flags, 0, 4, at);
  }

  /** Entries of zeros behind the last one: in the clusters that the table has, or in others. */
  async #growTable(entries: number, { allocate, free, sync }: BitmapSpace): Promise<void> {
    const old = this.#table.length;
    const clusters = this.#tableClusters(entries);
    const oldClusters = this.#tableClusters(old);
    if (clusters === oldClusters) {
      const zeros = Buffer.alloc((entries - old) * 8);
      await this.#storage.write(zeros, 0, zeros.length, this.#tableOffset + old * 8);
      await this.#storage.sync();
      return;
    }
    const offset = await allocate(clusters);
    try {
      const bytes = this.#encodeTable((clusters * this.#clusterBytes) / 8);
      await this.#storage.write(bytes, 0, bytes.length, offset);
      await sync();
    } catch (cause) {
      free(offset, clusters * this.#clusterBytes);
      throw cause;
    }
    const bytes = Buffer.alloc(8);
    writeUInt64BE(bytes, offset, 0);
    await this.#writeEntry(bytes, ENTRY.tableOffset);
    free(this.#tableOffset, oldClusters * this.#clusterBytes);
    this.#tableOffset = offset;
  }

  #freeBehind(old: Float64Array, entries: number, { free }: BitmapSpace): void {
    const clusterBytes = this.#clusterBytes;
    for (const offset of old.subarray(entries)) {
      if (offset > ALL_ONES) free(offset, clusterBytes);
    }
    const kept = this.#tableClusters(entries);
    const surplus = this.#tableClusters(old.length) - kept;
    if (surplus > 0) free(this.#tableOffset + kept * clusterBytes, surplus * clusterBytes);
  }

  #encodeTable(entries: number): Buffer {
    const bytes = Buffer.alloc(entries * 8);
    for (const [index, entry] of this.#table.entries()) writeUInt64BE(bytes, entry, index * 8);
    return bytes;
  }

  /** Durably; a field lies inside one sector, which a disk writes whole or not at all. */
  async #writeEntry(bytes: Buffer, at: number): Promise<void> {
    try {
      await this.#storage.write(bytes, 0, bytes.length, this.#entryOffset + at);
      await this.#storage.sync();
    } catch (cause) {
      this.#isEntryKnown = false; // from now on: its other fields may be written again, and not this
      throw cause;
    }
  }

  #tableClusters(entries: number): number {
    return Math.ceil((entries * 8) / this.#clusterBytes);
  }
}

/** Clears all bits from that one on. */
function clearFrom(bits: Buffer, first: number): void {
  const at = Math.floor(first / 8);
  if (at >= bits.length) return;
  bits[at]! &= (1 << (first % 8)) - 1;
  bits.fill(0, at + 1);
}
