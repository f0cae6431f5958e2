/** Writing tables and directories that a check has mended, each after what it points to. */

import { roundUp } from '../../../lib/round-up.ts';
import type { ResizableStorage } from '../../../storage/storage.ts';
import { type ScannedTable, tableSectorsOf } from '../scan/table-scan.ts';
import { SECTOR_BYTES } from '../structures/sparse-header.ts';
import type { SparseLayout } from '../structures/vmdk-file.ts';

/** An entry of a directory that is to be written when its table is durable. */
interface DirectoryChange {
  readonly offset: number;
  readonly sector: number;
}

export class TableRepairs {
  /** Set by whoever changes the entries of the table that is looked at now, or of its copy. */
  tableIsChanged = false;
  copyIsChanged = false;
  readonly #storage: ResizableStorage;
  readonly #layout: SparseLayout;
  readonly #directories: DirectoryChange[] = [];
  #isChanged = false;
  #hasGrown = false;

  constructor(storage: ResizableStorage, layout: SparseLayout) {
    this.#storage = storage;
    this.#layout = layout;
  }

  /** Whether new tables were put at the end of the file. */
  get hasGrown(): boolean {
    return this.#hasGrown;
  }

  /** Writes the table and its copy back, as far as they were changed. */
  async writeTables(table: ScannedTable, copy: ScannedTable | undefined): Promise<void> {
    if (this.tableIsChanged) await this.#write(table);
    if (this.copyIsChanged && copy !== undefined) await this.#write(copy);
    this.tableIsChanged = false;
    this.copyIsChanged = false;
  }

  /** A table with these entries at the end of the file, for one of the directories. */
  async newTable(index: number, entries: Buffer, isCopy: boolean): Promise<void> {
    const { grainSectors } = this.#layout;
    const unitBytes = Math.max(grainSectors, tableSectorsOf(this.#layout)) * SECTOR_BYTES;
    const offset = roundUp(this.#storage.sizeBytes, unitBytes);
    const bytes = Buffer.alloc(unitBytes);
    entries.copy(bytes);
    await this.#storage.write(bytes, 0, bytes.length, offset);
    this.#setDirectory(index, offset / SECTOR_BYTES, isCopy);
    this.#isChanged = true;
    this.#hasGrown = true;
    this.tableIsChanged = false;
    this.copyIsChanged = false;
  }

  /** One of the directories names no table from now on. */
  noTable(index: number, isCopy: boolean): void {
    this.#setDirectory(index, 0, isCopy);
  }

  /** Everything is durable when this resolves. */
  async finish(): Promise<void> {
    if (this.#isChanged || this.#directories.length > 0) await this.#storage.sync();
    if (this.#directories.length === 0) return;
    for (const { offset, sector } of this.#directories) {
      const bytes = Buffer.alloc(4);
      bytes.writeUInt32LE(sector, 0);
      await this.#storage.write(bytes, 0, 4, offset);
    }
    await this.#storage.sync();
  }

  #setDirectory(index: number, sector: number, isCopy: boolean): void {
    const { directorySector, redundantDirectorySector } = this.#layout;
    const directory = isCopy ? redundantDirectorySector : directorySector;
    this.#directories.push({ offset: directory * SECTOR_BYTES + index * 4, sector });
  }

  async #write({ entries, offset }: ScannedTable): Promise<void> {
    if (entries === undefined) return;
    await this.#storage.write(Buffer.from(entries), 0, entries.length, offset);
    this.#isChanged = true;
  }
}
