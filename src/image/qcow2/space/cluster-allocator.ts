/**
 * Free clusters, found by their counts: next-fit, in runs. A search that needs no I/O is one step of
 * the event loop, so that no two of them find the same cluster; one that does looks anew at
 * the gap that it had come to.
 */

import { damage } from '../structures/refusal.ts';
import type { MetadataMap } from './metadata-map.ts';
import type { Refcounts } from './refcounts.ts';

/** Clusters side by side that are the caller's, counted once each. */
export interface ClusterRun {
  readonly first: number;
  readonly count: number;
  /** Nothing was ever written there: the storage reads as zeros. */
  readonly isFresh: boolean;
}

export interface ClusterAllocatorOptions {
  readonly name: string;
  readonly clusterBytes: number;
  /** Clusters that the storage has now, the last perhaps only in part. */
  readonly storedClusters: number;
  readonly refcounts: Refcounts;
  readonly metadata: MetadataMap;
  /** Makes that many more clusters countable; rejects with `no-space` when there can be no more. */
  readonly grow: (clusters: number) => Promise<void>;
  /** Hears that a count is wrong: the image is not to be trusted any more. */
  readonly onDamage: () => void;
}

type Search =
  | { readonly kind: 'found'; readonly run: ClusterRun }
  /** The count of `cluster` is not there; what is free in front of it, if anything, begins at `from`. */
  | { readonly kind: 'load'; readonly cluster: number; readonly from: number }
  | { readonly kind: 'full' };

export class ClusterAllocator {
  readonly #options: ClusterAllocatorOptions;
  /** No cluster before this one is free; the first holds the header and never is. */
  #next = 1;
  /** From here on, what is free was never in use. */
  #freshFrom: number;

  constructor(options: ClusterAllocatorOptions) {
    this.#options = options;
    this.#freshFrom = options.storedClusters;
  }

  /** Where the next search begins: everything in use is before it, or a little behind. */
  get next(): number {
    return this.#next;
  }

  /** At least one cluster, at most `countMax`, side by side. */
  take(countMax: number): Promise<ClusterRun> {
    return this.#search(1, countMax);
  }

  /** The same at once; undefined when counts must be loaded or made first. */
  takeNow(countMax: number): ClusterRun | undefined {
    const result = this.#scan(1, countMax, 0);
    return result.kind === 'found' ? result.run : undefined;
  }

  /** Exactly `count` clusters side by side, for a table. */
  takeExactly(count: number): Promise<ClusterRun> {
    return this.#search(count, count);
  }

  /** A cluster's count has become zero. */
  freed(cluster: number): void {
    this.#next = Math.min(this.#next, Math.max(1, cluster));
    this.wroteTo(cluster + 1);
  }

  /** Something may have been written to free clusters before `end`. */
  wroteTo(end: number): void {
    if (end > this.#freshFrom) this.#freshFrom = end;
  }

  /**
   * One more reference to a cluster that is in use. False when its counter is full; undefined when
   * the count must be loaded first.
   */
  share(cluster: number): boolean | undefined {
    const { refcounts } = this.#options;
    const count = refcounts.get(cluster);
    if (count === undefined) return undefined;
    if (count === 0 || count >= refcounts.countMax) return false;
    refcounts.set(cluster, count + 1);
    return true;
  }

  /** Takes this very cluster if it is free; undefined when its count must be loaded first. */
  takeAt(cluster: number): boolean | undefined {
    const { refcounts, metadata } = this.#options;
    if (!refcounts.isCovered(cluster)) return false;
    const count = refcounts.get(cluster);
    if (count === undefined) return undefined;
    if (count !== 0 || metadata.has(cluster)) return false;
    refcounts.set(cluster, 1);
    this.wroteTo(cluster + 1);
    return true;
  }

  async #search(countMin: number, countMax: number): Promise<ClusterRun> {
    // A search that waits goes on where it was: all the counts that it passes need not be in memory.
    let from = 0;
    for (;;) {
      const result = this.#scan(countMin, countMax, from);
      if (result.kind === 'found') return result.run;
      from = result.kind === 'load' ? result.from : 0;
      if (result.kind === 'load') await this.#options.refcounts.load(result.cluster);
      else await this.#options.grow(countMax);
    }
  }

  #scan(countMin: number, countMax: number, from: number): Search {
    const { refcounts } = this.#options;
    let first = Math.max(from, this.#next);
    let count = 0;
    let isFirstGap = first === this.#next;
    for (let cluster = first; refcounts.isCovered(cluster); cluster++) {
      const references = refcounts.get(cluster);
      if (references === undefined) {
        // What was passed over is in use: the search goes on from here when the count is there.
        if (isFirstGap && count === 0) this.#next = cluster;
        if (count < countMin) return { kind: 'load', cluster, from: count > 0 ? first : cluster };
        break;
      }
      if (references === 0) {
        if (count === 0) first = cluster;
        count++;
        if (count === countMax) break;
      } else if (count >= countMin) {
        break;
      } else {
        if (count > 0 && isFirstGap) {
          this.#next = first;
          isFirstGap = false;
        }
        count = 0;
      }
    }
    if (count < countMin) return { kind: 'full' };
    return { kind: 'found', run: this.#use(first, count, isFirstGap) };
  }

  #use(first: number, count: number, isNext: boolean): ClusterRun {
    const { refcounts, metadata, name, clusterBytes, onDamage } = this.#options;
    for (let cluster = first; cluster < first + count; cluster++) {
      if (metadata.has(cluster)) {
        onDamage();
        throw damage(name, cluster * clusterBytes, 'a table is counted as free space');
      }
    }
    for (let cluster = first; cluster < first + count; cluster++) refcounts.set(cluster, 1);
    if (isNext) this.#next = first + count;
    const isFresh = first >= this.#freshFrom;
    this.wroteTo(first + count);
    return { first, count, isFresh };
  }
}
