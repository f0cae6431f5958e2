/**
 * How often each cluster of the storage is referred to: a table of blocks of counters. The table is
 * in memory and names only blocks that are durable, so that a count that is written to a block can be
 * found again after a crash; see `coverage.ts` for how it grows.
 */

import type { TmemError } from '../../../lib/errors.ts';
import type { ResizableStorage } from '../../../storage/storage.ts';
import { TableCache } from '../../tables/table-cache.ts';
import { counterMax, readCounter, writeCounter } from '../structures/counters.ts';
import type { Geometry } from '../structures/geometry.ts';
import type { PinnedTable } from '../structures/pinned-table.ts';
import { damage } from '../structures/refusal.ts';

export interface RefcountsOptions {
  readonly name: string;
  readonly storage: ResizableStorage;
  readonly geometry: Geometry;
  readonly table: PinnedTable;
  readonly limitBytes: number;
}

/** Clusters are named by their index on the storage. */
export class Refcounts {
  readonly countMax: number;
  /** Slices of blocks, by their offset on the storage. */
  readonly blocks: TableCache;
  /** Replaced when it grows. */
  table: PinnedTable;
  readonly #name: string;
  readonly #geometry: Geometry;
  readonly #sliceCounts: number;
  readonly #dirtyBytesMax: number;

  constructor({ name, storage, geometry, table, limitBytes }: RefcountsOptions) {
    const { sliceBytes, refcountBits } = geometry;
    this.#name = name;
    this.#geometry = geometry;
    this.table = table;
    this.countMax = counterMax(refcountBits);
    this.blocks = new TableCache({ storage, sliceBytes, limitBytes });
    this.#sliceCounts = (sliceBytes * 8) / refcountBits;
    this.#dirtyBytesMax = limitBytes / 2;
  }

  /** Whether a block counts the cluster; one that is not covered is free and cannot be used yet. */
  isCovered(cluster: number): boolean {
    return this.#blockOf(cluster) !== 0;
  }

  /** The count; undefined when it must be loaded first. Covered clusters only. */
  get(cluster: number): number | undefined {
    const slice = this.blocks.get(this.#sliceOffsetOf(cluster));
    if (slice === undefined) return undefined;
    return readCounter(slice, 0, cluster % this.#sliceCounts, this.#geometry.refcountBits);
  }

  /**
   * Afterwards `get` and `set` find the count in memory, until the event loop turns. So that memory is
   * left for those that are wanted at once, changed ones are written before they fill it.
   */
  async load(cluster: number): Promise<void> {
    await this.#makeRoom();
    await this.blocks.load(this.#sliceOffsetOf(cluster));
  }

  /** The count, read if need be; 0 where none is kept. In memory as after `load`. */
  async countOf(cluster: number): Promise<number> {
    if (!this.isCovered(cluster)) return 0;
    for (;;) {
      const count = this.get(cluster);
      if (count !== undefined) return count;
      // A single one finds room; that others cannot be written is for the next write-back to say.
      await this.#makeRoom().catch(() => undefined);
      await this.blocks.load(this.#sliceOffsetOf(cluster));
    }
  }

  /** The count of a cluster whose slice is in memory; `count` is at most `countMax`. */
  set(cluster: number, count: number): void {
    const sliceOffset = this.#sliceOffsetOf(cluster);
    const slice = this.blocks.get(sliceOffset);
    if (slice === undefined)
      throw new Error(`qcow2: the count of cluster ${cluster} is not loaded`);
    writeCounter(slice, 0, cluster % this.#sliceCounts, this.#geometry.refcountBits, count);
    this.blocks.markDirty(sliceOffset);
  }

  /** Takes one from a count; answers what is left. Rejects with `io` when there is nothing to take. */
  async decrement(cluster: number): Promise<number> {
    await this.countOf(cluster);
    // Others may have been there since: this is the count as it is in this turn.
    const count = this.isCovered(cluster) ? (this.get(cluster) ?? 0) : 0;
    if (count === 0) throw this.#missing(cluster);
    this.set(cluster, count - 1);
    return count - 1;
  }

  /** A count is never less than what is durable refers to, so that it may be written at any time. */
  async #makeRoom(): Promise<void> {
    if (this.blocks.dirtyBytes > this.#dirtyBytesMax) await this.blocks.writeBack();
  }

  #blockOf(cluster: number): number {
    return this.table.offsetOf(Math.floor(cluster / this.#geometry.blockEntries));
  }

  #sliceOffsetOf(cluster: number): number {
    const { blockEntries, sliceBytes, clusterBytes } = this.#geometry;
    const block = this.#blockOf(cluster);
    if (block % clusterBytes !== 0 || block > Number.MAX_SAFE_INTEGER) {
      const at = this.table.offset + Math.floor(cluster / blockEntries) * 8;
      throw damage(this.#name, at, `a refcount block is said to be at ${block}`);
    }
    if (block === 0) throw new Error(`qcow2: no block counts cluster ${cluster}`);
    const index = cluster % blockEntries;
    return block + Math.floor(index / this.#sliceCounts) * sliceBytes;
  }

  #missing(cluster: number): TmemError {
    const offset = cluster * this.#geometry.clusterBytes;
    return damage(this.#name, offset, 'a cluster in use is counted as free');
  }
}
