/** An extent whose grains are where its tables say. */

import type { ResizableStorage } from '../../../storage/storage.ts';
import type { CompressedUnit, Mapping } from '../../format.ts';
import { decompressGrain } from '../structures/markers.ts';
import { SECTOR_BYTES } from '../structures/sparse-header.ts';
import type { Extent, ExtentWriter } from './extent.ts';
import { type GrainTables, HOLE, ZERO } from './grain-tables.ts';

export interface SparseExtentParts {
  readonly storage: ResizableStorage;
  readonly tables: GrainTables;
  readonly grainBytes: number;
  readonly lengthBytes: number;
  readonly isCompressed: boolean;
  /** Where the extent begins on the disk. */
  readonly guestOffset: number;
  readonly writer?: ExtentWriter | undefined;
}

export class SparseExtent implements Extent {
  readonly storage: ResizableStorage;
  readonly lengthBytes: number;
  readonly writer: ExtentWriter | undefined;
  readonly #parts: SparseExtentParts;

  constructor(parts: SparseExtentParts) {
    this.storage = parts.storage;
    this.lengthBytes = parts.lengthBytes;
    this.writer = parts.writer;
    this.#parts = parts;
  }

  map(offset: number, length: number): Mapping | Promise<Mapping> {
    const { tables, grainBytes, isCompressed } = this.#parts;
    const grain = Math.floor(offset / grainBytes);
    const entry = tables.entry(grain);
    if (entry === undefined) return tables.load(grain).then(() => this.map(offset, length));
    if (entry > ZERO && isCompressed) {
      const unit = this.#compressedUnit(grain, entry);
      return { kind: 'compressed', length: this.#endOf(grain) - offset, unit };
    }
    const runBytes = this.#runEnd(grain, entry, offset + length) - offset;
    if (entry === HOLE) return { kind: 'hole', length: runBytes };
    if (entry === ZERO) return { kind: 'zero', length: runBytes };
    const storageOffset = entry * SECTOR_BYTES + offset - grain * grainBytes;
    return { kind: 'data', length: runBytes, storage: this.storage, storageOffset };
  }

  /** Where the run of grains ends that go on as `grain` does; not far behind `wantedEnd`. */
  #runEnd(grain: number, entry: number, wantedEnd: number): number {
    const { tables, grainBytes } = this.#parts;
    const step = entry > ZERO ? grainBytes / SECTOR_BYTES : 0;
    const end = Math.ceil(Math.min(wantedEnd, this.lengthBytes) / grainBytes);
    return this.#endOf(tables.runEnd(grain + 1, end, entry + step, step) - 1);
  }

  #endOf(grain: number): number {
    return Math.min((grain + 1) * this.#parts.grainBytes, this.lengthBytes);
  }

  #compressedUnit(grain: number, sector: number): CompressedUnit {
    const { grainBytes, storage, guestOffset, lengthBytes } = this.#parts;
    const storageOffset = sector * SECTOR_BYTES;
    const stored = {
      name: storage.name,
      storageOffset,
      sector: grain * (grainBytes / SECTOR_BYTES),
      surplusBytes: Math.max(0, (grain + 1) * grainBytes - lengthBytes),
    };
    return {
      guestOffset: guestOffset + grain * grainBytes,
      unitBytes: grainBytes,
      storage,
      storageOffset,
      storedBytesMax: this.#storedBytesMax(grain, sector),
      decompress: (src, dst) => decompressGrain(src, dst, stored),
    };
  }

  /**
   * Grains mostly lie in the order of the disk, so that the next one tells where this one ends: half
   * of what would have to be read otherwise.
   */
  #storedBytesMax(grain: number, sector: number): number {
    const { tables, grainBytes } = this.#parts;
    const limit = 2 * grainBytes;
    if (this.#endOf(grain) === this.lengthBytes) return limit;
    let next: number | undefined;
    try {
      next = tables.entry(grain + 1);
    } catch {
      return limit; // whoever reads the next grain hears of it
    }
    if (next === undefined || next <= sector) return limit;
    return Math.min(limit, (next - sector) * SECTOR_BYTES);
  }
}
