/**
 * Which clusters hold tables: a last check before data are written or space is free, for images whose
 * tables refer to one another's space. It names what was active when the image was opened and what
 * came since.
 */

import { TmemError } from '../../../lib/errors.ts';
import type { PinnedTable } from '../structures/pinned-table.ts';

/** Of an image with more L2 tables and refcount blocks than this, the rest is not checked. */
const CLUSTERS_MAX = 1 << 20;

/** Of a set of numbers, in memory; twice as much as needed just after it has grown. */
const BYTES_PER_CLUSTER = 40;

export class MetadataMap {
  /** Bytes of memory for an image with so many L1 entries and snapshots: there are fewer refcount blocks. */
  static bytesMax(l1Entries: number, snapshots: number): number {
    return BYTES_PER_CLUSTER * Math.min(CLUSTERS_MAX, 2 * l1Entries + snapshots);
  }

  readonly #clusterBytes: number;
  readonly #clusters = new Set<number>([0]);
  /** How many tables more than one are said to be in a cluster, where an image is damaged. */
  readonly #more = new Map<number, number>();

  constructor(clusterBytes: number) {
    this.#clusterBytes = clusterBytes;
  }

  /** The clusters of the range hold tables from now on. */
  add(offset: number, length: number): void {
    const end = Math.ceil((offset + length) / this.#clusterBytes);
    for (let cluster = Math.floor(offset / this.#clusterBytes); cluster < end; cluster++) {
      if (this.#clusters.size + this.#more.size >= CLUSTERS_MAX) return;
      if (!this.#clusters.has(cluster)) this.#clusters.add(cluster);
      else this.#more.set(cluster, (this.#more.get(cluster) ?? 0) + 1);
    }
  }

  /** The same for clusters that hold no other table so far; answers whether that was so. */
  addNew(offset: number, length: number): boolean {
    if (length === 0) return true;
    if (!Number.isSafeInteger(offset + length)) return false;
    const end = Math.ceil((offset + length) / this.#clusterBytes);
    for (let cluster = Math.floor(offset / this.#clusterBytes); cluster < end; cluster++) {
      if (this.#clusters.has(cluster)) return false;
      if (this.#clusters.size >= CLUSTERS_MAX) return true;
      this.#clusters.add(cluster);
    }
    return true;
  }

  /** Everything that the entries of a table stand for, a cluster each. */
  addEntriesOf(table: PinnedTable): void {
    for (let index = 0; index < table.entries; index++) {
      const offset = table.offsetOf(index);
      if (offset !== 0) this.add(offset, 1);
    }
  }

  /** The clusters of the range hold one table fewer: none, unless another is said to be there too. */
  delete(offset: number, length: number): void {
    const end = Math.ceil((offset + length) / this.#clusterBytes);
    for (let cluster = Math.floor(offset / this.#clusterBytes); cluster < end; cluster++) {
      this.leave(cluster, true);
    }
  }

  /** A table has left a cluster; unless that is its `isLast` reference, a snapshot has it still. */
  leave(cluster: number, isLast: boolean): void {
    const more = this.#more.get(cluster) ?? 0;
    if (more > 1) this.#more.set(cluster, more - 1);
    else if (more === 1) this.#more.delete(cluster);
    else if (isLast) this.#clusters.delete(cluster);
  }

  has(cluster: number): boolean {
    return this.#clusters.has(cluster);
  }

  /** Tells `onDamage` and throws a TmemError `io` when data that go there would destroy a table. */
  checkData(offset: number, length: number, name: string, onDamage: () => void): void {
    const end = Math.ceil((offset + length) / this.#clusterBytes);
    for (let cluster = Math.floor(offset / this.#clusterBytes); cluster < end; cluster++) {
      if (!this.#clusters.has(cluster)) continue;
      onDamage();
      const what = `data of the guest are said to be at offset ${cluster * this.#clusterBytes}`;
      const message = `"${name}" is damaged: ${what}, where a table is; run "tmem image check" on it`;
      throw new TmemError('io', message, { context: { image: name, offset } });
    }
  }
}
