/**
 * L2 tables that may be changed: made where there is none, copied where a snapshot has them too. On a
 * disk that is full it is the write that wants one that fails: what it writes is acknowledged only
 * when the table has space of its own, so that no FLUSH is left without.
 */

import { type Qcow2Disk, tableOffsetOf } from '../reads/disk.ts';
import type { ClusterAllocator } from '../space/cluster-allocator.ts';
import type { FreedClusters } from '../space/freed-clusters.ts';
import type { MetadataMap } from '../space/metadata-map.ts';
import type { WriteBack } from './write-back.ts';

export interface L2TablesOptions {
  readonly disk: Qcow2Disk;
  readonly allocator: ClusterAllocator;
  readonly freed: FreedClusters;
  readonly metadata: MetadataMap;
  readonly writeBack: WriteBack;
}

export class L2Tables {
  readonly #options: L2TablesOptions;
  /** Tables on their way, by their index in L1. */
  readonly #making = new Map<number, Promise<void>>();

  constructor(options: L2TablesOptions) {
    this.#options = options;
  }

  /** The offset of the table of a guest offset, if it is there and may be changed; else 0. */
  own(guestOffset: number): number {
    const { disk } = this.#options;
    const index = Math.floor(guestOffset / disk.geometry.tableCoverageBytes);
    if (index >= disk.l1.entries || !disk.l1.isCopied(index)) return 0;
    return tableOffsetOf(disk, guestOffset);
  }

  /** Makes a table for a guest offset that `own` can answer. */
  async make(guestOffset: number): Promise<void> {
    const { disk } = this.#options;
    const index = Math.floor(guestOffset / disk.geometry.tableCoverageBytes);
    let making = this.#making.get(index);
    if (making === undefined) {
      making = this.#make(index, guestOffset).finally(() => this.#making.delete(index));
      this.#making.set(index, making);
    }
    await making;
  }

  async #make(index: number, guestOffset: number): Promise<void> {
    const { disk, allocator, freed, metadata, writeBack } = this.#options;
    const { clusterBytes, sliceBytes } = disk.geometry;
    const old = tableOffsetOf(disk, guestOffset);
    const content = await this.#contentOf(old);
    const run = await allocator.takeExactly(1);
    const offset = run.first * clusterBytes;
    try {
      await disk.storage.writeZeroes(offset, clusterBytes, false);
    } catch (cause) {
      freed.addUnreachable(offset, clusterBytes);
      throw cause;
    }
    // Nothing fails from here on: a write-back takes any slice that is there, and what it writes may
    // still be on its way when the space of a table that came to nothing is somebody else's.
    for (let at = 0; at < clusterBytes; at += sliceBytes) {
      content.copy(disk.l2.create(offset + at), 0, at);
    }
    writeBack.addNewTable(offset);
    metadata.add(offset, clusterBytes);
    disk.l1.set(index, offset, true);
    if (old !== 0) freed.addTable(old);
  }

  /**
   * What the table there has, or zeros for none. One that a snapshot has too is not changed, so that
   * reading it piece by piece is safe.
   */
  async #contentOf(table: number): Promise<Buffer> {
    const { l2, geometry } = this.#options.disk;
    const { clusterBytes, sliceBytes } = geometry;
    const content = Buffer.alloc(clusterBytes);
    for (let at = 0; table !== 0 && at < clusterBytes; at += sliceBytes) {
      const slice = l2.get(table + at) ?? (await l2.load(table + at));
      slice.copy(content, at);
    }
    return content;
  }
}
