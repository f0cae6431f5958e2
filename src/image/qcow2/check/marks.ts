/** Counts which clusters of a file something refers to. */

import type { Geometry } from '../structures/geometry.ts';
import { ClusterCounts } from './cluster-counts.ts';
import type { Findings } from './findings.ts';

export class Marks {
  readonly counts: ClusterCounts;
  readonly fileBytes: number;
  /** Something is said to be behind the end of the file; what is there is counted nowhere. */
  hasLost = false;
  readonly #clusterBytes: number;
  readonly #findings: Findings;

  /** `clusters` are those of the file, the last perhaps only in part. */
  constructor(fileBytes: number, clusters: number, geometry: Geometry, findings: Findings) {
    // What refers to the last cluster from inside may reach one further.
    this.counts = new ClusterCounts(clusters + 1);
    this.fileBytes = fileBytes;
    this.#clusterBytes = geometry.clusterBytes;
    this.#findings = findings;
  }

  /**
   * `times` references to each cluster that the range touches. False, and a finding, when it ends a
   * cluster or more behind the end of the file: the last cluster may be stored in part.
   */
  mark(offset: number, length: number, times: number, what: string): boolean {
    if (length === 0) return true;
    const clusterBytes = this.#clusterBytes;
    if (!(offset + length - this.fileBytes < clusterBytes)) {
      this.#findings.corruption(what, offset, 'is behind the end of the file', times);
      this.hasLost = true;
      return false;
    }
    const last = Math.floor((offset + length - 1) / clusterBytes);
    for (let cluster = Math.floor(offset / clusterBytes); cluster <= last; cluster++) {
      this.counts.add(cluster, times);
    }
    return true;
  }

  /** Takes back references that `mark` counted. */
  unmark(offset: number, length: number): void {
    const last = Math.floor((offset + length - 1) / this.#clusterBytes);
    for (let cluster = Math.floor(offset / this.#clusterBytes); cluster <= last; cluster++) {
      this.counts.add(cluster, -1);
    }
  }
}
