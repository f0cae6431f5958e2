/**
 * Space on its way to be free. A cluster that lost a reference goes through three waits: until the
 * tables that no longer refer to it are durable, until every request that could know of it has left,
 * and until its bytes are given back to the file system. Only then does its count go down. What data
 * are said to be in, but is a table, stays: the entries of a damaged image may name any cluster.
 */

import { TmemError } from '../../../lib/errors.ts';
import type { ResizableStorage } from '../../../storage/storage.ts';
import type { RequestEpochs } from '../../tables/request-epochs.ts';
import { Damage } from '../structures/refusal.ts';
import type { MetadataMap } from './metadata-map.ts';
import type { Refcounts } from './refcounts.ts';

/** Clusters side by side that lose one reference each. */
export interface FreedRun {
  readonly first: number;
  count: number;
  /** They were L2 tables. */
  readonly isTable: boolean;
}

interface Batch {
  readonly stamp: number;
  readonly runs: readonly FreedRun[];
}

export interface FreedClustersOptions {
  readonly storage: ResizableStorage;
  readonly clusterBytes: number;
  readonly refcounts: Refcounts;
  readonly epochs: RequestEpochs;
  readonly metadata: MetadataMap;
  /** Hears of each cluster whose last reference is about to go: it gets no new one from then on. */
  readonly onLast: (cluster: number) => void;
  /** Hears of each cluster whose count has become zero. */
  readonly onFree: (cluster: number) => void;
  /** Hears of a count that is wrong, and of a table in use whose only reference was to go. */
  readonly onDamage: () => void;
}

export class FreedClusters {
  readonly #options: FreedClustersOptions;
  /** Not referred to in memory; perhaps on the storage. */
  #replaced: FreedRun[] = [];
  /** Not referred to anywhere; perhaps still being read or written. */
  #unreachable: Batch[] = [];
  #settling = Promise.resolve();
  #isSettlingAborted = false;

  constructor(options: FreedClustersOptions) {
    this.#options = options;
  }

  /** The table entry of these bytes was replaced in memory. */
  add(storageOffset: number, length: number): void {
    addRun(this.#replaced, this.#runOf(storageOffset, length));
  }

  /** L1 has another L2 table, or none, instead of the one there. */
  addTable(storageOffset: number): void {
    const run = this.#runOf(storageOffset, this.#options.clusterBytes);
    addRun(this.#replaced, { ...run, isTable: true });
  }

  /** No table entry, in memory or durable, ever referred to these bytes, or none does any more. */
  addUnreachable(storageOffset: number, length: number): void {
    this.#settleAborted();
    const stamp = this.#options.epochs.advance();
    this.#unreachable.push({ stamp, runs: [this.#runOf(storageOffset, length)] });
  }

  /** What was replaced up to now: `confirm` it when the tables are durable, or `restore` it. */
  take(): FreedRun[] {
    const runs = this.#replaced;
    this.#replaced = [];
    return runs;
  }

  restore(runs: readonly FreedRun[]): void {
    this.#replaced = [...runs, ...this.#replaced];
  }

  confirm(runs: readonly FreedRun[]): void {
    if (runs.length === 0) return;
    this.#unreachable.push({ stamp: this.#options.epochs.advance(), runs });
  }

  /**
   * Counts down what nobody can touch any more. The guest's data are safe whatever fails: what cannot
   * be counted down is leaked, and only a count that is wrong, not one that cannot be read, is damage.
   */
  settle(): Promise<void> {
    this.#settling = this.#settling
      .then(() => this.#countDownPast())
      .catch((cause: unknown) => {
        if (cause instanceof Damage || !(cause instanceof TmemError)) this.#options.onDamage();
      });
    return this.#settling;
  }

  /**
   * What was given up before is free without a write-back, too: on a disk that is full none succeeds,
   * and each write that is tried again would take space of its own.
   */
  #settleAborted(): void {
    if (this.#unreachable.length === 0 || this.#isSettlingAborted) return;
    this.#isSettlingAborted = true;
    void this.settle().then(() => {
      this.#isSettlingAborted = false;
    });
  }

  async #countDownPast(): Promise<void> {
    const { epochs } = this.#options;
    for (;;) {
      const [batch] = this.#unreachable;
      if (batch === undefined || !epochs.isPast(batch.stamp)) return;
      this.#unreachable.shift();
      for (const run of batch.runs) await this.#countDown(run);
    }
  }

  /** Bytes are given back while the clusters still count as used: nobody can have them meanwhile. */
  async #countDown({ first, count, isTable }: FreedRun): Promise<void> {
    const { refcounts, metadata, onLast, onFree, onDamage } = this.#options;
    const end = first + count;
    const kept = new Set<number>();
    let from = first;
    for (let cluster = first; cluster < end; cluster++) {
      const isLast = (await refcounts.countOf(cluster)) === 1;
      if (isTable) metadata.leave(cluster, isLast);
      if (isLast && metadata.has(cluster)) {
        kept.add(cluster);
      } else if (isLast) {
        onLast(cluster);
        continue;
      }
      await this.#discard(from, cluster);
      from = cluster + 1;
    }
    await this.#discard(from, end);
    if (kept.size > 0) onDamage();
    for (let cluster = first; cluster < end; cluster++) {
      if (kept.has(cluster)) continue;
      if ((await refcounts.decrement(cluster)) === 0) onFree(cluster);
    }
  }

  async #discard(first: number, end: number): Promise<void> {
    const { storage, clusterBytes } = this.#options;
    if (first >= end || !storage.supports.discard) return;
    const offset = first * clusterBytes;
    const length = Math.min(end * clusterBytes, storage.sizeBytes) - offset;
    // A hint: a file system may need space itself to make a hole. The clusters are free all the same.
    if (length > 0) await storage.discard(offset, length).catch(() => undefined);
  }

  #runOf(storageOffset: number, length: number): FreedRun {
    const { clusterBytes } = this.#options;
    const first = Math.floor(storageOffset / clusterBytes);
    const last = Math.floor((storageOffset + length - 1) / clusterBytes);
    return { first, count: last - first + 1, isTable: false };
  }
}

/** Runs that continue one another are one, so that a large discard is a few of them. */
function addRun(runs: FreedRun[], run: FreedRun): void {
  const last = runs[runs.length - 1];
  const isNext = last !== undefined && last.first + last.count === run.first;
  if (isNext && last.isTable === run.isTable) last.count += run.count;
  else runs.push(run);
}
