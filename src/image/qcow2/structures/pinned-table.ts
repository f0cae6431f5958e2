/** A table of 64-bit entries that is held in memory as a whole: the L1 table, the refcount table. */

import { writeUInt64BE } from '../../../lib/uint64.ts';
import type { ResizableStorage } from '../../../storage/storage.ts';
import { readPadded } from '../../tables/read-padded.ts';
import { SECTOR_BYTES } from './layout.ts';

const TWO_32 = 2 ** 32;

/** A sector of a table as it was at one moment. */
export interface TableSector {
  readonly storageOffset: number;
  readonly bytes: Buffer;
}

/**
 * Entries are read and written in memory; what changed is taken a sector at a time, which a disk
 * writes whole or not at all.
 */
export class PinnedTable {
  /** Where the table begins on the storage. */
  readonly offset: number;
  readonly #bytes: Buffer;
  /** Indices of sectors that the storage does not have as they are here. */
  #dirty = new Set<number>();

  /** `bytes` are a multiple of 8, and the table's own from then on. */
  constructor(offset: number, bytes: Buffer) {
    this.offset = offset;
    this.#bytes = bytes;
  }

  static async read(
    storage: ResizableStorage,
    offset: number,
    entries: number,
  ): Promise<PinnedTable> {
    const bytes = Buffer.alloc(entries * 8);
    await readPadded(storage, bytes, 0, bytes.length, offset);
    return new PinnedTable(offset, bytes);
  }

  /** In memory. */
  get bytes(): number {
    return this.#bytes.length;
  }

  get entries(): number {
    return this.#bytes.length / 8;
  }

  /** Bits 32 to 63 of an entry. */
  highOf(index: number): number {
    return this.#bytes.readUInt32BE(index * 8);
  }

  /** Bits 0 to 31 of an entry. */
  lowOf(index: number): number {
    return this.#bytes.readUInt32BE(index * 8 + 4);
  }

  /** Bits 9 to 55: where what the entry stands for is; 0 for nothing, also behind the last entry. */
  offsetOf(index: number): number {
    if (index >= this.entries) return 0;
    const low = this.lowOf(index);
    return (this.highOf(index) & 0x00ff_ffff) * TWO_32 + low - (low % SECTOR_BYTES);
  }

  /** Bit 63. */
  isCopied(index: number): boolean {
    return this.highOf(index) >= 0x8000_0000;
  }

  set(index: number, offset: number, isCopied: boolean): void {
    writeUInt64BE(this.#bytes, offset, index * 8);
    if (isCopied) this.#bytes[index * 8] = (this.#bytes[index * 8] ?? 0) | 0x80;
    this.#dirty.add(Math.floor((index * 8) / SECTOR_BYTES));
  }

  /** A copy with room for more entries, or fewer, to be kept elsewhere; nothing of it is dirty. */
  movedTo(offset: number, entries: number): PinnedTable {
    const bytes = Buffer.alloc(entries * 8);
    this.#bytes.copy(bytes);
    return new PinnedTable(offset, bytes);
  }

  /** All of it as it is now. */
  copy(): Buffer {
    return Buffer.from(this.#bytes);
  }

  /** What changed, as it is now; from here on it counts as written, see `restore`. */
  takeDirty(): TableSector[] {
    const sectors: TableSector[] = [];
    for (const index of [...this.#dirty].sort((a, b) => a - b)) {
      const at = index * SECTOR_BYTES;
      const bytes = Buffer.from(this.#bytes.subarray(at, at + SECTOR_BYTES));
      sectors.push({ storageOffset: this.offset + at, bytes });
    }
    this.#dirty = new Set();
    return sectors;
  }

  /** Sectors that were taken could not be written: they are dirty again. */
  restore(sectors: readonly TableSector[]): void {
    for (const { storageOffset } of sectors) {
      this.#dirty.add((storageOffset - this.offset) / SECTOR_BYTES);
    }
  }
}
