/** Writing whole clusters compressed: the codec works on several at once, the tables on one. */

import {
  entryIndexOf,
  type Qcow2Disk,
  readEntryOrThrow,
  sliceOffsetOf,
  tableOffsetOf,
} from '../reads/disk.ts';
import type { BlobSpace } from '../space/blob-space.ts';
import type { FreedClusters } from '../space/freed-clusters.ts';
import type { MetadataMap } from '../space/metadata-map.ts';
import { newEntry, writeCompressedEntry } from '../structures/l2-entry.ts';
import type { HeldRange, InFlight } from './in-flight.ts';
import type { L2Tables } from './l2-tables.ts';
import type { WriteTargets } from './write-targets.ts';

export interface CompressedWritesOptions {
  readonly disk: Qcow2Disk;
  readonly tables: L2Tables;
  readonly targets: WriteTargets;
  readonly blobs: BlobSpace;
  readonly freed: FreedClusters;
  readonly inFlight: InFlight;
  readonly metadata: MetadataMap;
  /** Hears that data were to be written over a table. */
  readonly onDamage: () => void;
}

export class CompressedWrites {
  readonly #options: CompressedWritesOptions;

  constructor(options: CompressedWritesOptions) {
    this.#options = options;
  }

  /** See `WritableFormat.writeCompressed`; `unit` is one cluster. */
  async write(offset: number, unit: Buffer): Promise<void> {
    const { disk } = this.#options;
    const { clusterBytes, hasDataFile } = disk.geometry;
    if (offset % clusterBytes !== 0 || unit.length !== clusterBytes) {
      throw new Error(`qcow2: ${unit.length} bytes at ${offset} are no cluster`);
    }
    // Neither a data file nor a cipher goes together with compression.
    if (hasDataFile || disk.cipher !== undefined) return this.#writePlain(offset, unit);
    const blob = await disk.codec.compress(unit);
    const isLess = blob.length < clusterBytes;
    return isLess ? this.#writeBlob(offset, blob) : this.#writePlain(offset, unit);
  }

  async #writePlain(offset: number, unit: Buffer): Promise<void> {
    const { disk, targets } = this.#options;
    const inside = Math.min(unit.length, disk.virtualSizeBytes - offset);
    for (let done = 0; done < inside; ) {
      const target = await targets.allocate(offset + done, inside - done);
      const start = done - target.headBytes;
      const bytes = target.headBytes + target.length + target.tailBytes;
      const place = target.storageOffset;
      try {
        // What the target wants filled up around the run is of the unit too.
        const plain = Buffer.from(unit.subarray(start, start + bytes));
        target.cipher?.encrypt(plain, 0, bytes, place, offset + start);
        await target.storage.write(plain, 0, bytes, place);
      } catch (cause) {
        target.abort?.();
        throw cause;
      }
      await target.commit?.();
      done += target.length;
    }
  }

  async #writeBlob(offset: number, blob: Buffer): Promise<void> {
    const { disk, blobs, freed, metadata, onDamage } = this.#options;
    const range = await this.#hold(offset);
    try {
      const place = await blobs.take(blob.length);
      try {
        metadata.checkData(place, blob.length, disk.name, onDamage);
        await disk.storage.write(blob, 0, blob.length, place);
        await this.#setEntry(offset, place, blob.length);
      } catch (cause) {
        freed.addUnreachable(place, blob.length);
        throw cause;
      }
    } finally {
      this.#options.inFlight.end(range);
    }
  }

  async #hold(offset: number): Promise<HeldRange> {
    const { disk, inFlight, tables } = this.#options;
    const cluster = offset / disk.geometry.clusterBytes;
    for (;;) {
      const held = inFlight.find(cluster, cluster + 1);
      if (held !== undefined) await held.released;
      else if (tables.own(offset) === 0) await tables.make(offset);
      else return inFlight.begin(cluster, cluster + 1);
    }
  }

  async #setEntry(offset: number, place: number, length: number): Promise<void> {
    const { disk, freed } = this.#options;
    const { clusterBytes, entryBytes, sliceEntries } = disk.geometry;
    const index = entryIndexOf(disk, offset);
    const sliceOffset = sliceOffsetOf(disk, tableOffsetOf(disk, offset), index);
    const slice = disk.l2.get(sliceOffset) ?? (await disk.l2.load(sliceOffset));
    const entry = newEntry();
    readEntryOrThrow(disk, slice, sliceOffset, index % sliceEntries, entry);
    if (entry.hasHost) {
      freed.add(entry.hostOffset, entry.isCompressed ? entry.storedBytesMax : clusterBytes);
    }
    const at = (index % sliceEntries) * entryBytes;
    writeCompressedEntry(slice, at, disk.geometry, place, length);
    disk.l2.markDirty(sliceOffset);
  }
}
