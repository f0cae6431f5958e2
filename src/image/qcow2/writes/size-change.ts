/**
 * Another size of the guest's disk. What is behind its end is nothing: a disk that becomes smaller
 * forgets it, and one that grows does too, in case that a crash or another program left something.
 */

import { TmemError } from '../../../lib/errors.ts';
import { roundUp } from '../../../lib/round-up.ts';
import type { Qcow2Disk } from '../reads/disk.ts';
import type { ClusterAllocator } from '../space/cluster-allocator.ts';
import type { FreedClusters } from '../space/freed-clusters.ts';
import type { MetadataMap } from '../space/metadata-map.ts';
import type { Refcounts } from '../space/refcounts.ts';
import type { HeaderFile } from '../structures/header-file.ts';
import { L1_BYTES_MAX } from '../structures/layout.ts';
import type { WriteBack } from './write-back.ts';
import type { Zeroing } from './zeroing.ts';

export interface SizeChangeOptions {
  readonly disk: Qcow2Disk;
  readonly header: HeaderFile;
  readonly allocator: ClusterAllocator;
  readonly freed: FreedClusters;
  readonly metadata: MetadataMap;
  readonly refcounts: Refcounts;
  readonly writeBack: WriteBack;
  readonly zeroing: Zeroing;
}

export class SizeChange {
  readonly #options: SizeChangeOptions;
  /** The header is told of a larger disk with the next sync, when what is new reads as zeros. */
  #pendingBytes: number | undefined;

  constructor(options: SizeChangeOptions) {
    this.#options = options;
  }

  /** See `WritableFormat.resize`. A larger size is durable after the next sync. */
  async resize(sizeBytes: number): Promise<void> {
    const { disk } = this.#options;
    this.#check(sizeBytes);
    if (sizeBytes < disk.virtualSizeBytes) await this.#shrink(sizeBytes);
    else if (sizeBytes > disk.virtualSizeBytes) await this.#grow(sizeBytes);
  }

  /** Called when all else is durable: makes the new size so, if there is one. */
  async finish(): Promise<void> {
    const sizeBytes = this.#pendingBytes;
    if (sizeBytes === undefined) return;
    await this.#writeSize(sizeBytes);
    this.#pendingBytes = undefined;
  }

  #check(sizeBytes: number): void {
    const { disk, header } = this.#options;
    const refuse = (cause: string, advice: string) => {
      const message = `cannot resize "${disk.name}" to ${sizeBytes} bytes: ${cause}; ${advice}`;
      return new TmemError('unsupported', message);
    };
    if (this.#tablesFor(sizeBytes) * 8 > L1_BYTES_MAX) {
      throw refuse('its L1 table would be larger than 32 MiB', 'convert it to larger clusters');
    }
    if (header.header.snapshotCount > 0 && header.header.version === 2) {
      throw refuse('its snapshots are of version 2, and of one size', 'delete them first');
    }
  }

  async #grow(sizeBytes: number): Promise<void> {
    const { disk, zeroing, writeBack } = this.#options;
    const { clusterBytes, hasDataFile } = disk.geometry;
    const start = roundUp(disk.virtualSizeBytes, clusterBytes);
    const tables = this.#tablesFor(sizeBytes);
    if (tables > disk.l1.entries) await this.#moveTable(tables);
    if (hasDataFile) {
      // What it has behind the disk's end is to be zeros, for whoever reads the file as it is.
      const { dataStorage, virtualSizeBytes } = disk;
      if (dataStorage.sizeBytes > virtualSizeBytes) await dataStorage.resize(virtualSizeBytes);
      await dataStorage.resize(sizeBytes);
    }
    if (start < sizeBytes) {
      await zeroing.forget(start, roundUp(sizeBytes, clusterBytes) - start);
    }
    await writeBack.sync();
    disk.virtualSizeBytes = sizeBytes;
    this.#pendingBytes = sizeBytes;
  }

  async #shrink(sizeBytes: number): Promise<void> {
    const { disk, header, zeroing, writeBack } = this.#options;
    const { clusterBytes, hasDataFile, tableCoverageBytes } = disk.geometry;
    const tablesEnd = disk.l1.entries * tableCoverageBytes;
    const start = roundUp(sizeBytes, clusterBytes);
    // A disk that was to be larger, and could not, takes no writing to be as it was.
    if (sizeBytes !== header.header.sizeBytes) {
      await writeBack.sync();
      await this.#writeSize(sizeBytes);
    }
    disk.virtualSizeBytes = sizeBytes;
    this.#pendingBytes = undefined;
    if (start < tablesEnd) await zeroing.forget(start, tablesEnd - start);
    this.#dropTables(sizeBytes);
    if (hasDataFile) await disk.dataStorage.resize(sizeBytes);
    await writeBack.sync();
    // By now nothing refers to what was given up; this makes the counts say so on the storage too.
    await writeBack.sync();
    await this.#cutFile();
  }

  /** Ends the file behind the last cluster in use. That it cannot be cut costs nothing but space. */
  async #cutFile(): Promise<void> {
    const { storage, geometry } = this.#options.disk;
    const { clusterBytes } = geometry;
    let clusters = Math.ceil(storage.sizeBytes / clusterBytes);
    while (clusters > 1 && !(await this.#isUsed(clusters - 1))) clusters--;
    const endOffset = clusters * clusterBytes;
    if (endOffset < storage.sizeBytes) await storage.resize(endOffset).catch(() => undefined);
  }

  async #isUsed(cluster: number): Promise<boolean> {
    const { refcounts, metadata } = this.#options;
    return metadata.has(cluster) || (await refcounts.countOf(cluster)) > 0;
  }

  async #writeSize(sizeBytes: number): Promise<void> {
    const { header, writeBack } = this.#options;
    const { sizeBytes: oldBytes } = header.header;
    this.#switchSize(sizeBytes);
    try {
      await writeBack.sync();
    } catch (cause) {
      this.#switchSize(oldBytes); // or the next write-back would try the other one again
      throw cause;
    }
  }

  #switchSize(sizeBytes: number): void {
    const { disk, writeBack } = this.#options;
    writeBack.switchDisk({ l1: disk.l1, isMoved: false, sizeBytes });
  }

  async #moveTable(tables: number): Promise<void> {
    const { disk, header, allocator, freed, metadata, writeBack } = this.#options;
    const { clusterBytes } = disk.geometry;
    const clusters = Math.ceil((tables * 8) / clusterBytes);
    const run = await allocator.takeExactly(clusters);
    const old = disk.l1;
    const offset = run.first * clusterBytes;
    const bytes = clusters * clusterBytes;
    try {
      // Here a disk that is full refuses it; later, it would refuse every FLUSH.
      await disk.storage.writeZeroes(offset, bytes, false);
    } catch (cause) {
      freed.addUnreachable(offset, bytes);
      throw cause;
    }
    metadata.add(offset, bytes);
    disk.l1 = old.movedTo(offset, tables);
    writeBack.switchDisk({ l1: disk.l1, isMoved: true, sizeBytes: header.header.sizeBytes });
    for (let at = 0; at < old.entries * 8; at += clusterBytes) freed.addTable(old.offset + at);
    await writeBack.sync();
  }

  /** Tables of nothing but holes are given back; there are no smaller L1 tables for it. */
  #dropTables(sizeBytes: number): void {
    const { disk, freed } = this.#options;
    const { clusterBytes } = disk.geometry;
    for (let index = this.#tablesFor(sizeBytes); index < disk.l1.entries; index++) {
      const offset = disk.l1.offsetOf(index);
      if (offset === 0) continue;
      disk.l2.drop(offset, clusterBytes);
      disk.l1.set(index, 0, false);
      freed.addTable(offset);
    }
  }

  #tablesFor(sizeBytes: number): number {
    return Math.ceil(sizeBytes / this.#options.disk.geometry.tableCoverageBytes);
  }
}
