/**
 * The files of all sparse extents as one, each in a window of its own, so that one cache with one
 * limit holds the tables of all of them.
 */

import type { ResizableStorage, StorageExtent } from '../../../storage/storage.ts';
import { readPadded } from '../../tables/read-padded.ts';
import { EXTENTS_MAX } from '../structures/descriptor.ts';

/** As far as 32 bits of sectors reach; `EXTENTS_MAX` windows fill the exact numbers. */
export const WINDOW_BYTES = 2 ** 41;

/** For a cache of tables alone; whoever made it owns the storages. */
export class TablesSpace implements ResizableStorage {
  readonly name = 'grain tables';
  readonly sizeBytes = Number.MAX_SAFE_INTEGER;
  readonly isReadOnly = false;
  readonly alignmentBytes = 1;
  readonly supports = { discard: false, fastZeroes: false, extents: false };
  readonly #storages: readonly ResizableStorage[];

  constructor(storages: readonly ResizableStorage[]) {
    if (storages.length > EXTENTS_MAX) throw new Error(`${storages.length} extents are too many`);
    this.#storages = storages;
  }

  read(buffer: Buffer, bufferOffset: number, length: number, offset: number): Promise<void> {
    return readPadded(this.#at(offset), buffer, bufferOffset, length, offset % WINDOW_BYTES);
  }

  write(buffer: Buffer, bufferOffset: number, length: number, offset: number): Promise<void> {
    return this.#at(offset).write(buffer, bufferOffset, length, offset % WINDOW_BYTES);
  }

  async sync(): Promise<void> {
    throw new Error('tables: each file is synced by itself');
  }

  async discard(): Promise<void> {}

  async writeZeroes(): Promise<void> {
    throw new Error('tables: nothing is zeroed');
  }

  async extent(_offset: number, length: number): Promise<StorageExtent> {
    return { length, isHole: false };
  }

  async resize(): Promise<void> {
    throw new Error('tables: files grow by themselves');
  }

  async close(): Promise<void> {}

  #at(offset: number): ResizableStorage {
    const storage = this.#storages[Math.floor(offset / WINDOW_BYTES)];
    if (storage === undefined) throw new Error(`tables: ${offset} is in no file`);
    return storage;
  }
}
