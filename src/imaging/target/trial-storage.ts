/** A file whose changes are not made: to find out whether they would be refused. */

import type {
  ResizableStorage,
  StorageCapabilities,
  StorageExtent,
} from '../../storage/storage.ts';

/** Reads as the storage does, whatever was written; that one is not closed with it. */
export class TrialStorage implements ResizableStorage {
  readonly isReadOnly = false;
  readonly supports: StorageCapabilities = { discard: false, fastZeroes: false, extents: false };
  readonly #storage: ResizableStorage;

  constructor(storage: ResizableStorage) {
    this.#storage = storage;
  }

  get name(): string {
    return this.#storage.name;
  }

  get sizeBytes(): number {
    return this.#storage.sizeBytes;
  }

  get alignmentBytes(): number {
    return this.#storage.alignmentBytes;
  }

  read(buffer: Buffer, bufferOffset: number, length: number, offset: number): Promise<void> {
    return this.#storage.read(buffer, bufferOffset, length, offset);
  }

  async extent(_offset: number, length: number): Promise<StorageExtent> {
    return { length, isHole: false };
  }

  async write(): Promise<void> {}

  async writeZeroes(): Promise<void> {}

  async discard(): Promise<void> {}

  async resize(): Promise<void> {}

  async sync(): Promise<void> {}

  async close(): Promise<void> {}
}
