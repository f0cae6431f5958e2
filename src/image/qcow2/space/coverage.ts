/**
 * Growing what can be counted: new refcount blocks, and when the refcount table is full, a new table.
 * They lie in the space that they count themselves, so that nothing that is durable knows of them
 * until the table's entries, or the header, are switched to them: the blocks are written before the
 * first phase of a write-back, the switch in the second. Clusters are taken from the new space only then.
 */

import { TmemError } from '../../../lib/errors.ts';
import { roundUp } from '../../../lib/round-up.ts';
import type { ResizableStorage } from '../../../storage/storage.ts';
import { writeCounter } from '../structures/counters.ts';
import type { Geometry } from '../structures/geometry.ts';
import type { HeaderFile } from '../structures/header-file.ts';
import { REFCOUNT_TABLE_BYTES_MAX } from '../structures/layout.ts';
import type { PinnedTable } from '../structures/pinned-table.ts';
import { damage } from '../structures/refusal.ts';
import type { MetadataMap } from './metadata-map.ts';
import type { Refcounts } from './refcounts.ts';

/** Blocks that are added at once, unless more are wanted; a quarter of what there is, up to this. */
const BLOCKS_MAX = 16;

export interface CoverageOptions {
  readonly name: string;
  readonly storage: ResizableStorage;
  readonly geometry: Geometry;
  readonly refcounts: Refcounts;
  readonly header: HeaderFile;
  readonly metadata: MetadataMap;
  /** Blocks are added before somebody has to wait for them. */
  readonly isAhead: boolean;
  /** What a growth that came to nothing has written ends before that cluster. */
  readonly onWrote: (end: number) => void;
  /** Hears that a table lies in what is not counted: the image is not to be trusted any more. */
  readonly onDamage: () => void;
}

/** What one growth adds; offsets and clusters are of the storage. */
export interface CoveragePlan {
  readonly firstBlock: number;
  readonly blocks: number;
  /** Where blocks and table begin: the first cluster that the first block counts. */
  readonly firstCluster: number;
  readonly usedClusters: number;
  /** The table with the new entries, in its old place or a new one. */
  readonly table: PinnedTable;
  readonly isMoved: boolean;
}

export class Coverage {
  readonly #options: CoverageOptions;
  #wantedClusters = 0;
  /** Entries of the table before this one are not empty: they never become so again. */
  #firstBlock = 0;
  #failure: TmemError | undefined;
  /** Its switch has begun: the storage may have it, so what it adds stays until it is in force. */
  #unsure: CoveragePlan | undefined;

  constructor(options: CoverageOptions) {
    this.#options = options;
  }

  /** Whether somebody waits for more, or a switch that failed is to be made again. */
  get isWanted(): boolean {
    return this.#wantedClusters > 0 || this.#unsure !== undefined;
  }

  /** The next plan has room for that many clusters side by side. */
  want(clusters: number): void {
    this.#wantedClusters = Math.max(this.#wantedClusters, clusters);
  }

  /** Why the last plan that was wanted came to nothing; undefined when it did not. */
  takeFailure(): TmemError | undefined {
    const failure = this.#failure;
    this.#failure = undefined;
    return failure;
  }

  /**
   * What to add now; undefined when there is room enough behind `next`, the first cluster that may be
   * free, or when the format or the disk has room for no more: see `takeFailure`. It is written to
   * where nothing points yet, before the first phase: a disk that is full must not keep that from
   * making durable what it has room for.
   */
  async prepare(next: number): Promise<CoveragePlan | undefined> {
    const isWanted = this.#wantedClusters > 0;
    const plan = this.#plan(next);
    if (plan === undefined) return undefined;
    try {
      await this.#writeNew(plan);
      return plan;
    } catch (cause) {
      const { storage, geometry, onWrote } = this.#options;
      const { firstCluster, usedClusters } = plan;
      const { clusterBytes } = geometry;
      onWrote(firstCluster + usedClusters);
      const isFull = cause instanceof TmemError && cause.kind === 'no-space';
      if (!isFull || plan === this.#unsure) throw cause;
      if (isWanted) this.#failure = cause;
      // What was written of it is space that others need.
      const offset = firstCluster * clusterBytes;
      const length = Math.min(usedClusters * clusterBytes, storage.sizeBytes - offset);
      if (length > 0) await storage.discard(offset, length).catch(() => undefined);
      return undefined;
    }
  }

  #plan(next: number): CoveragePlan | undefined {
    if (this.#unsure !== undefined) return this.#unsure;
    const { refcounts, geometry } = this.#options;
    const { table } = refcounts;
    const { blockEntries } = geometry;
    while (table.offsetOf(this.#firstBlock) !== 0) this.#firstBlock++;
    const firstBlock = this.#firstBlock;
    const left = firstBlock * blockEntries - next;
    const isNear = this.#options.isAhead && left <= blockEntries / 4;
    if (this.#wantedClusters === 0 && !isNear) return undefined;
    const wanted = this.#wantedClusters;
    this.#wantedClusters = 0;
    const usual = this.#options.isAhead ? Math.min(BLOCKS_MAX, Math.ceil(firstBlock / 4)) : 1;
    // Without a block for the header's own cluster there is nothing to go on from.
    const plan = firstBlock === 0 ? undefined : this.#planBlocks(firstBlock, usual, wanted);
    const failure = plan === undefined ? this.#full() : this.#overlapOf(plan);
    this.#failure = wanted > 0 ? failure : undefined;
    return failure === undefined ? plan : undefined;
  }

  /** In an image whose counts were lost there may be something where none are. */
  #overlapOf({ firstCluster, usedClusters }: CoveragePlan): TmemError | undefined {
    const { name, geometry, metadata, onDamage } = this.#options;
    for (let cluster = firstCluster; cluster < firstCluster + usedClusters; cluster++) {
      if (!metadata.has(cluster)) continue;
      onDamage();
      return damage(name, cluster * geometry.clusterBytes, 'a table is counted as free space');
    }
    return undefined;
  }

  #planBlocks(firstBlock: number, usual: number, wanted: number): CoveragePlan | undefined {
    const { geometry, refcounts } = this.#options;
    const { blockEntries, clusterBytes } = geometry;
    const tableEntries = refcounts.table.entries;
    for (let blocks = 1; ; blocks++) {
      const endBlock = firstBlock + blocks;
      const isMoved = endBlock > tableEntries;
      // Half as long again, so that a growing image moves its table a few times only.
      const wish = isMoved ? roundUp(endBlock * 12, clusterBytes) : 0;
      const tableBytes = Math.min(wish, roundUp(REFCOUNT_TABLE_BYTES_MAX, clusterBytes));
      const usedClusters = blocks + tableBytes / clusterBytes;
      const firstCluster = firstBlock * blockEntries;
      const isTooFar = endBlock * blockEntries * clusterBytes > Number.MAX_SAFE_INTEGER;
      if (isTooFar || (isMoved && endBlock * 8 > tableBytes)) return undefined;
      // A gap between two blocks is filled, however small: whoever wants more than that comes again.
      const isGap = refcounts.table.offsetOf(endBlock) !== 0;
      const isLess = blocks < usual || usedClusters + Math.max(1, wanted) > blocks * blockEntries;
      if (isLess && !isGap) continue;
      const tableOffset = (firstCluster + blocks) * clusterBytes;
      const table = isMoved
        ? refcounts.table.movedTo(tableOffset, tableBytes / 8)
        : refcounts.table.movedTo(refcounts.table.offset, tableEntries);
      for (let index = 0; index < blocks; index++) {
        table.set(firstBlock + index, (firstCluster + index) * clusterBytes, false);
      }
      return { firstBlock, blocks, firstCluster, usedClusters, table, isMoved };
    }
  }

  async #writeNew({ blocks, firstCluster, usedClusters, table, isMoved }: CoveragePlan) {
    const { storage, geometry } = this.#options;
    const { clusterBytes, refcountBits } = geometry;
    const bytes = Buffer.alloc(usedClusters * clusterBytes);
    for (let index = 0; index < usedClusters; index++)
      writeCounter(bytes, 0, index, refcountBits, 1);
    if (isMoved) table.copy().copy(bytes, blocks * clusterBytes);
    await storage.write(bytes, 0, bytes.length, firstCluster * clusterBytes);
  }

  /** Second phase: the switch, durable with the sync that follows. */
  async writeSwitch(plan: CoveragePlan): Promise<void> {
    const { storage, header, geometry } = this.#options;
    const { table } = plan;
    this.#unsure = plan;
    if (plan.isMoved) {
      const clusters = (table.entries * 8) / geometry.clusterBytes;
      await header.writeRefcountTable(table.offset, clusters);
      return;
    }
    const sectors = table.takeDirty();
    table.restore(sectors); // until `adopt`: they may have to be written again
    for (const { storageOffset, bytes } of sectors) {
      await storage.write(bytes, 0, bytes.length, storageOffset);
    }
  }

  /** The switch is durable: the new space is there. Answers the range of a table that was left. */
  adopt(plan: CoveragePlan): { offset: number; length: number } | undefined {
    const { refcounts, metadata, geometry } = this.#options;
    const { clusterBytes } = geometry;
    const old = refcounts.table;
    this.#unsure = undefined;
    plan.table.takeDirty();
    refcounts.table = plan.table;
    metadata.add(plan.firstCluster * clusterBytes, plan.usedClusters * clusterBytes);
    if (!plan.isMoved) return undefined;
    const left = { offset: old.offset, length: roundUp(old.entries * 8, clusterBytes) };
    metadata.delete(left.offset, left.length);
    return left;
  }

  #full(): TmemError {
    const { name } = this.#options;
    const advice = 'convert it to larger clusters';
    return new TmemError('no-space', `"${name}" cannot count any more clusters; ${advice}`);
  }
}
