/**
 * How often each cluster of the storage is referred to: a table of blocks of counters. The table is
 * in memory and names only blocks that are durable, so that a count that is written to a block can be
 * found again after a crash; see `coverage.ts` for how it grows.
 */

import type { TmemError } from '../../lib/errors.ts';
import type { ResizableStorage } from '../../storage/storage.ts';
import { TableCache } from '../table-cache.ts';
import type { Geometry } from './geometry.ts';
import type { PinnedTable } from './pinned-table.ts';
import { damage } from './refusal.ts';

const TWO_32 = 2 ** 32;

/** Reads the counter with that index in a block or a slice of one. */
export function readCount(block: Buffer, index: number, bits: number): number {
  if (bits === 16) return block.readUInt16BE(index * 2);
  if (bits === 32) return block.readUInt32BE(index * 4);
  if (bits === 64)
    return block.readUInt32BE(index * 8) * TWO_32 + block.readUInt32BE(index * 8 + 4);
  // Counters of less than a byte lie from its least significant bit on.
  const at = index * bits;
  return ((block[at >>> 3] ?? 0) >>> (at & 7)) & (2 ** bits - 1);
}

/** Stores a counter; `count` is at most `countMax` of the width. */
export function writeCount(block: Buffer, index: number, bits: number, count: number): void {
  if (bits === 16) {
    block.writeUInt16BE(count, index * 2);
  } else if (bits === 32) {
    block.writeUInt32BE(count, index * 4);
  } else if (bits === 64) {
    block.writeUInt32BE(Math.floor(count / TWO_32), index * 8);
    block.writeUInt32BE(count % TWO_32, index * 8 + 4);
  } else {
    const at = index * bits;
    const mask = (2 ** bits - 1) << (at & 7);
    block[at >>> 3] = ((block[at >>> 3] ?? 0) & ~mask) | (count << (at & 7));
  }
}

/** The largest count that a counter of that width holds, as far as a number is exact. */
export function countMax(bits: number): number {
  return bits === 64 ? Number.MAX_SAFE_INTEGER : 2 ** bits - 1;
}

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

  constructor({ name, storage, geometry, table, limitBytes }: RefcountsOptions) {
    const { sliceBytes, refcountBits } = geometry;
    this.#name = name;
    this.#geometry = geometry;
    this.table = table;
    this.countMax = countMax(refcountBits);
    this.blocks = new TableCache({ storage, sliceBytes, limitBytes });
    this.#sliceCounts = (sliceBytes * 8) / refcountBits;
  }

  /** Whether a block counts the cluster; one that is not covered is free and cannot be used yet. */
  isCovered(cluster: number): boolean {
    return this.#blockOf(cluster) !== 0;
  }

  /** The count; undefined when it must be loaded first. Covered clusters only. */
  get(cluster: number): number | undefined {
    const slice = this.blocks.get(this.#sliceOffsetOf(cluster));
    if (slice === undefined) return undefined;
    return readCount(slice, cluster % this.#sliceCounts, this.#geometry.refcountBits);
  }

  /** Afterwards `get` and `set` find the count in memory, until the event loop turns. */
  async load(cluster: number): Promise<void> {
    await this.blocks.load(this.#sliceOffsetOf(cluster));
  }

  /** The count of a cluster whose slice is in memory; `count` is at most `countMax`. */
  set(cluster: number, count: number): void {
    const sliceOffset = this.#sliceOffsetOf(cluster);
    const slice = this.blocks.get(sliceOffset);
    if (slice === undefined)
      throw new Error(`qcow2: the count of cluster ${cluster} is not loaded`);
    writeCount(slice, cluster % this.#sliceCounts, this.#geometry.refcountBits, count);
    this.blocks.markDirty(sliceOffset);
  }

  /** Takes one from a count; answers what is left. Rejects with `io` when there is nothing to take. */
  async decrement(cluster: number): Promise<number> {
    if (!this.isCovered(cluster)) throw this.#missing(cluster);
    let count = this.get(cluster);
    while (count === undefined) {
      await this.load(cluster);
      count = this.get(cluster);
    }
    if (count === 0) throw this.#missing(cluster);
    this.set(cluster, count - 1);
    return count - 1;
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
