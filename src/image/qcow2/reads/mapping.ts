/** From a guest offset to where its bytes are: L1, a slice of an L2 table, runs of its entries. */

import { TmemError } from '../../../lib/errors.ts';
import type { CompressedUnit, Mapping } from '../../format.ts';
import { type L2Entry, newEntry } from '../structures/l2-entry.ts';
import {
  entryIndexOf,
  type Qcow2Disk,
  readEntryOrThrow,
  sliceOffsetOf,
  tableOffsetOf,
} from './disk.ts';

const HOLE = 0;
const ZERO = 1;
const DATA = 2;
/** Zeros for which there is space. */
const HELD_ZERO = 3;

/** Maps without a promise when the slice is in memory; see `ImageFormat.map`. */
export class Qcow2Mapping {
  readonly #disk: Qcow2Disk;
  readonly #entry: L2Entry = newEntry();
  /** The run that is being put together. */
  #runBytes = 0;
  #runKind = HOLE;
  #runHostOffset = 0;

  constructor(disk: Qcow2Disk) {
    this.#disk = disk;
  }

  map(offset: number, length: number): Mapping | Promise<Mapping> {
    const disk = this.#disk;
    const table = tableOffsetOf(disk, offset);
    if (table === 0) return this.#mapAbsentTables(offset, length);
    const sliceOffset = sliceOffsetOf(disk, table, entryIndexOf(disk, offset));
    const slice = disk.l2.get(sliceOffset);
    if (slice !== undefined) return this.#mapInSlice(slice, sliceOffset, offset, length);
    return disk.l2.load(sliceOffset).then((loaded) => {
      // The table may have been copied or dropped while its slice was on its way.
      if (tableOffsetOf(disk, offset) !== table) return this.map(offset, length);
      return this.#mapInSlice(loaded, sliceOffset, offset, length);
    });
  }

  /** A hole as far as there are no tables: large ones are skipped with a test for each table. */
  #mapAbsentTables(offset: number, length: number): Mapping {
    const { tableCoverageBytes } = this.#disk.geometry;
    const wanted = Math.min(offset + length, this.#disk.virtualSizeBytes);
    let end = offset - (offset % tableCoverageBytes) + tableCoverageBytes;
    while (end < wanted && tableOffsetOf(this.#disk, end) === 0) end += tableCoverageBytes;
    return { kind: 'hole', length: Math.min(end, this.#disk.virtualSizeBytes) - offset };
  }

  #mapInSlice(slice: Buffer, sliceOffset: number, offset: number, length: number): Mapping {
    const { geometry, virtualSizeBytes } = this.#disk;
    const entry = this.#entry;
    const first = entryIndexOf(this.#disk, offset) % geometry.sliceEntries;
    readEntryOrThrow(this.#disk, slice, sliceOffset, first, entry);
    const inCluster = offset % geometry.clusterBytes;
    if (entry.isCompressed) return this.#compressed(offset, inCluster);
    this.#runBytes = 0;
    let subcluster = Math.floor(inCluster / geometry.subclusterBytes);
    let skipped = inCluster % geometry.subclusterBytes;
    for (let index = first; ; ) {
      if (!this.#extendRun(subcluster, skipped)) break;
      index++;
      if (this.#runBytes >= length || index >= geometry.sliceEntries) break;
      readEntryOrThrow(this.#disk, slice, sliceOffset, index, entry);
      if (entry.isCompressed) break;
      subcluster = 0;
      skipped = 0;
    }
    return this.#run(Math.min(this.#runBytes, virtualSizeBytes - offset));
  }

  /** Takes what goes on with the run from a cluster, from a subcluster on; whether all of it did. */
  #extendRun(first: number, skippedBytes: number): boolean {
    const { subclusters, subclusterBytes } = this.#disk.geometry;
    const { allocated, zero, hostOffset, hasHost } = this.#entry;
    const zeroKind = hasHost ? HELD_ZERO : ZERO;
    for (let index = first; index < subclusters; index++) {
      const bit = 1 << index;
      const kind = (zero & bit) !== 0 ? zeroKind : (allocated & bit) !== 0 ? DATA : HOLE;
      const skipped = index === first ? skippedBytes : 0;
      const host = hostOffset + index * subclusterBytes + skipped;
      if (this.#runBytes === 0) {
        this.#runKind = kind;
        this.#runHostOffset = host;
      } else if (kind !== this.#runKind) {
        return false;
      } else if (kind === DATA && host !== this.#runHostOffset + this.#runBytes) {
        return false;
      }
      this.#runBytes += subclusterBytes - skipped;
    }
    return true;
  }

  #run(length: number): Mapping {
    if (this.#runKind === HOLE) return { kind: 'hole', length };
    if (this.#runKind !== DATA) {
      return { kind: 'zero', length, hasSpace: this.#runKind === HELD_ZERO };
    }
    const { dataStorage: storage, cipher } = this.#disk;
    return { kind: 'data', length, storage, storageOffset: this.#runHostOffset, cipher };
  }

  #compressed(offset: number, inCluster: number): Mapping {
    const { geometry, virtualSizeBytes } = this.#disk;
    const { clusterBytes } = geometry;
    const length = Math.min(clusterBytes - inCluster, virtualSizeBytes - offset);
    return { kind: 'compressed', length, unit: this.#unit(offset - inCluster) };
  }

  #unit(guestOffset: number): CompressedUnit {
    const { name, codec, storage, geometry } = this.#disk;
    const { hostOffset, storedBytesMax } = this.#entry;
    return {
      guestOffset,
      unitBytes: geometry.clusterBytes,
      storage,
      storageOffset: hostOffset,
      storedBytesMax,
      async decompress(src: Buffer, dst: Buffer): Promise<void> {
        try {
          await codec.decompress(src, dst);
        } catch (cause) {
          const what = `the cluster at ${hostOffset} cannot be decompressed with ${codec.name}`;
          const why = cause instanceof Error ? cause.message : 'for no known reason';
          const advice = 'restore it from a copy';
          const message = `"${name}" is damaged: ${what}, ${why}; ${advice}`;
          throw new TmemError('io', message, { cause, context: { image: name, guestOffset } });
        }
      },
    };
  }
}
