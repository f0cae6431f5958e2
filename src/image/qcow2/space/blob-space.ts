/**
 * Space for compressed clusters, which lie byte behind byte and share the clusters of the storage.
 * Each adds one to the count of every cluster that it touches.
 */

import type { ClusterAllocator } from './cluster-allocator.ts';
import type { Refcounts } from './refcounts.ts';

export class BlobSpace {
  readonly #allocator: ClusterAllocator;
  readonly #refcounts: Refcounts;
  readonly #clusterBytes: number;
  /** Where the last blob ended; 0 when there is no room behind one. */
  #end = 0;

  constructor(allocator: ClusterAllocator, refcounts: Refcounts, clusterBytes: number) {
    this.#allocator = allocator;
    this.#refcounts = refcounts;
    this.#clusterBytes = clusterBytes;
  }

  /** The cluster is about to be given back: no blob goes there any more. */
  leave(cluster: number): void {
    if (this.#end !== 0 && Math.floor(this.#end / this.#clusterBytes) === cluster) this.#end = 0;
  }

  /** The storage offset of that many bytes, less than a cluster, the caller's from then on. */
  async take(length: number): Promise<number> {
    for (;;) {
      const offset = this.#end === 0 ? undefined : this.#behindLast(length);
      if (typeof offset === 'number') return offset;
      if (offset !== undefined) {
        await this.#refcounts.load(offset.load);
        continue;
      }
      const run = await this.#allocator.take(1);
      return this.#begin(run.first * this.#clusterBytes, length);
    }
  }

  #begin(start: number, length: number): number {
    this.#setEnd(start + length);
    return start;
  }

  /** Behind the last blob, into the next cluster too if that is free. Undefined: begin elsewhere. */
  #behindLast(length: number): number | { load: number } | undefined {
    const start = this.#end;
    const cluster = Math.floor(start / this.#clusterBytes);
    const last = Math.floor((start + length - 1) / this.#clusterBytes);
    if (this.#refcounts.get(cluster) === undefined) return { load: cluster };
    if (last !== cluster) {
      if (!this.#canShare(cluster)) return undefined;
      const isTaken = this.#allocator.takeAt(last);
      if (isTaken === undefined) return { load: last };
      if (!isTaken) return undefined;
      // Both counts were in memory in this turn: the first cannot be missing any more.
    }
    if (this.#allocator.share(cluster) !== true) return undefined;
    this.#setEnd(start + length);
    return start;
  }

  #canShare(cluster: number): boolean {
    const count = this.#refcounts.get(cluster);
    return count !== undefined && count > 0 && count < this.#refcounts.countMax;
  }

  /** A cluster that is full to its last byte has no room for another blob. */
  #setEnd(end: number): void {
    this.#end = end % this.#clusterBytes === 0 ? 0 : end;
  }
}
