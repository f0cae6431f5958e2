/** What the formats whose files only grow at the end do alike: their disk maps and allocates. */

import type { ResizableStorage } from '../../storage/storage.ts';
import type { FormatName, Mapping, WritableFormat, WriteTarget } from '../format.ts';
import type { TableStatistics } from '../tables/table-cache.ts';
import type { AppendedDisk } from './disk.ts';

/** A format says how it is made durable, and what its header notes of size and backing file. */
export abstract class AppendedFormat implements WritableFormat {
  abstract readonly formatName: FormatName;
  readonly isWritable = true;
  readonly unitBytes: number;
  readonly storages: readonly [ResizableStorage];
  protected readonly disk: AppendedDisk;

  constructor(disk: AppendedDisk) {
    this.unitBytes = disk.layout.unitBytes;
    this.storages = [disk.storage];
    this.disk = disk;
  }

  get virtualSizeBytes(): number {
    return this.disk.virtualSizeBytes;
  }

  get tables(): TableStatistics {
    return this.disk.tables.cache.statistics;
  }

  get pinnedBytes(): number {
    return this.disk.pinnedBytes;
  }

  map(offset: number, length: number): Mapping | Promise<Mapping> {
    return this.disk.map(offset, length);
  }

  allocate(offset: number, length: number): WriteTarget | Promise<WriteTarget> {
    return this.disk.allocate(offset, length);
  }

  zero(offset: number, length: number, mayDiscard: boolean, mustBeFast = false): Promise<boolean> {
    return this.disk.zero(offset, length, mayDiscard, mustBeFast);
  }

  discard(offset: number, length: number): Promise<void> {
    return this.disk.discard(offset, length);
  }

  abstract sync(): Promise<void>;

  async close(): Promise<void> {
    if (!this.disk.storage.isReadOnly) await this.sync();
  }
}
