/**
 * The order in which tables become durable. Nothing durable ever points to what is not durable yet,
 * and nothing is free while something durable points to it, so that a crash can only leak:
 *
 * 1. refcounts, tables that nothing durable refers to, and the data and new refcount blocks, which
 *    were written before the tables here came to speak of them; a sync;
 * 2. slices of L2 tables, entries of L1 and refcount tables, the header, as they were when the first
 *    phase began; a sync;
 * 3. in memory, the counts of what was replaced go down.
 */

import { settleAll } from '../../../lib/settle-all.ts';
import type { Qcow2Disk } from '../reads/disk.ts';
import type { Coverage, CoveragePlan } from '../space/coverage.ts';
import type { FreedClusters, FreedRun } from '../space/freed-clusters.ts';
import type { Refcounts } from '../space/refcounts.ts';
import type { HeaderFile } from '../structures/header-file.ts';
import type { PinnedTable, TableSector } from '../structures/pinned-table.ts';

export interface WriteBackOptions {
  readonly disk: Qcow2Disk;
  readonly header: HeaderFile;
  readonly refcounts: Refcounts;
  readonly freed: FreedClusters;
  readonly coverage: Coverage;
  /** The first cluster that may be free; see `Coverage.prepare`. */
  readonly nextCluster: () => number;
  /** What a growth that came to nothing has written ends before that cluster. */
  readonly onWrote: (end: number) => void;
}

/** A switch to another L1 table or size, which the next write-back makes. */
export interface DiskSwitch {
  readonly l1: PinnedTable;
  /** The table is in new clusters: all of it is written before the header names them. */
  readonly isMoved: boolean;
  readonly sizeBytes: number;
}

/** What one write-back makes durable, as it was when it began. */
interface Batch {
  readonly newTables: ReadonlySet<number>;
  readonly l1: PinnedTable;
  readonly l1Sectors: readonly TableSector[];
  readonly diskSwitch: DiskSwitch | undefined;
  readonly freed: readonly FreedRun[];
  readonly plan: CoveragePlan | undefined;
}

export class WriteBack {
  readonly #options: WriteBackOptions;
  /** L2 tables that no durable L1 entry refers to. */
  #newTables = new Set<number>();
  #diskSwitch: DiskSwitch | undefined;
  #running: Promise<void> | undefined;
  #waiting: Promise<void> | undefined;

  constructor(options: WriteBackOptions) {
    this.#options = options;
  }

  /** An L2 table was made at that offset, and L1 refers to it in memory. */
  addNewTable(offset: number): void {
    this.#newTables.add(offset);
  }

  /** The next write-back switches to it; the table's entries are then all written. */
  switchDisk(diskSwitch: DiskSwitch): void {
    this.#diskSwitch = diskSwitch;
  }

  /** Bytes of tables that wait to be written. */
  get dirtyBytes(): number {
    return this.#options.disk.l2.dirtyBytes + this.#options.refcounts.blocks.dirtyBytes;
  }

  /** Everything that is in the tables at the call is durable when this resolves. Calls are joined. */
  sync(): Promise<void> {
    // A run that has begun may have missed what the caller did: the next one has not.
    this.#waiting ??= this.#next();
    return this.#waiting;
  }

  async #next(): Promise<void> {
    // Also without one under way: what is asked for in this turn of the event loop is one.
    await Promise.allSettled([this.#running]);
    this.#waiting = undefined;
    this.#running = this.#run();
    try {
      await this.#running;
    } finally {
      this.#running = undefined;
    }
  }

  async #run(): Promise<void> {
    const { disk, refcounts, freed, coverage, nextCluster } = this.#options;
    const hasTables = disk.l2.dirtyBytes > 0 || refcounts.blocks.dirtyBytes > 0;
    const mayGrow = hasTables || coverage.isWanted;
    const plan = mayGrow ? await coverage.prepare(nextCluster()) : undefined;
    const batch: Batch = {
      newTables: this.#newTables,
      l1: disk.l1,
      l1Sectors: disk.l1.takeDirty(),
      diskSwitch: this.#diskSwitch,
      freed: freed.take(),
      plan,
    };
    this.#newTables = new Set();
    this.#diskSwitch = undefined;
    let isSecondPhase = false;
    let openGate = () => {};
    let closeGate = (_cause: unknown) => {};
    const gate = new Promise<void>((resolve, reject) => {
      openGate = resolve;
      closeGate = reject;
    });
    gate.catch(() => undefined);
    const { later, now } = this.#dirtySlices(batch.newTables);
    // Both copies are taken here: what changes from now on is for the next write-back.
    const laterWrites = disk.l2.writeBack(later, gate);
    laterWrites.catch(() => undefined);
    try {
      await this.#firstPhase(batch, now);
      isSecondPhase = true;
      openGate();
      await this.#secondPhase(batch, later.length > 0, laterWrites);
    } catch (cause) {
      closeGate(cause);
      await Promise.allSettled([laterWrites]);
      this.#restore(batch, isSecondPhase);
      throw cause;
    }
    await this.#settle(batch);
  }

  #dirtySlices(newTables: ReadonlySet<number>): { now: number[]; later: number[] } {
    const { disk } = this.#options;
    const { clusterBytes } = disk.geometry;
    const now: number[] = [];
    const later: number[] = [];
    for (const offset of disk.l2.dirtyOffsets()) {
      (newTables.has(offset - (offset % clusterBytes)) ? now : later).push(offset);
    }
    return { now, later };
  }

  async #firstPhase({ diskSwitch }: Batch, slices: readonly number[]): Promise<void> {
    const { disk, refcounts } = this.#options;
    const { storage, dataStorage } = disk;
    const l1 = diskSwitch?.isMoved === true ? diskSwitch.l1.copy() : undefined;
    const writes = [disk.l2.writeBack(slices), refcounts.blocks.writeBack()];
    if (diskSwitch !== undefined && l1 !== undefined) {
      writes.push(storage.write(l1, 0, l1.length, diskSwitch.l1.offset));
    }
    await settleAll(writes);
    await settleAll([storage.sync(), storage === dataStorage ? undefined : dataStorage.sync()]);
  }

  async #secondPhase(batch: Batch, hasSlices: boolean, slices: Promise<void>): Promise<void> {
    const { disk, coverage, header } = this.#options;
    const { l1Sectors, diskSwitch, plan } = batch;
    const hasWork = l1Sectors.length > 0 || diskSwitch !== undefined || plan !== undefined;
    if (!hasSlices && !hasWork) return;
    const writes: Promise<void>[] = [slices];
    // A table that was moved was written as a whole, these sectors included.
    if (diskSwitch?.isMoved !== true) {
      for (const { storageOffset, bytes } of l1Sectors) {
        writes.push(disk.storage.write(bytes, 0, bytes.length, storageOffset));
      }
    }
    if (diskSwitch !== undefined) {
      writes.push(header.writeDisk(diskSwitch.l1, diskSwitch.sizeBytes));
    }
    if (plan !== undefined) writes.push(coverage.writeSwitch(plan));
    await settleAll(writes);
    await disk.storage.sync();
  }

  /**
   * What is durable or not is not known: all of it is written again, and nothing is free. Only slices
   * that are written are not: after a sync that failed the storage lets no other succeed.
   */
  #restore(batch: Batch, isSecondPhase: boolean): void {
    const { freed, onWrote } = this.#options;
    const { plan, diskSwitch } = batch;
    if (plan !== undefined) onWrote(plan.firstCluster + plan.usedClusters);
    batch.l1.restore(batch.l1Sectors);
    freed.restore(batch.freed);
    // After the first sync new tables are durable, L1 itself and those that it refers to; the header
    // may name that L1, so that it is no place any more for what is not durable.
    if (isSecondPhase) {
      this.#diskSwitch ??= diskSwitch && { ...diskSwitch, isMoved: false };
      return;
    }
    this.#diskSwitch ??= diskSwitch;
    for (const table of batch.newTables) this.#newTables.add(table);
  }

  async #settle({ freed: runs, plan }: Batch): Promise<void> {
    const { freed, coverage } = this.#options;
    freed.confirm(runs);
    const left = plan === undefined ? undefined : coverage.adopt(plan);
    if (left !== undefined) freed.addUnreachable(left.offset, left.length);
    await freed.settle();
  }
}
