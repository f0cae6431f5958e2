/**
 * A file of a new image until it has its name. Nobody would look at it after a crash, so that the
 * order in which it reaches the disk does not matter: what a format syncs on its way costs nothing,
 * and `TargetFiles` syncs all of it once.
 */

import type { FileStorage } from '../../storage/file.ts';
import type {
  ResizableStorage,
  StorageCapabilities,
  StorageExtent,
} from '../../storage/storage.ts';

export class UnplacedFile implements ResizableStorage {
  readonly isReadOnly = false;
  readonly #storage: FileStorage;

  /** The storage is closed with it. */
  constructor(storage: FileStorage) {
    this.#storage = storage;
  }

  get name(): string {
    return this.#storage.name;
  }

  /** As those of the storage. */
  get identity(): string {
    return this.#storage.identity;
  }

  get medium(): string {
    return this.#storage.medium;
  }

  get sizeBytes(): number {
    return this.#storage.sizeBytes;
  }

  get alignmentBytes(): number {
    return this.#storage.alignmentBytes;
  }

  get supports(): StorageCapabilities {
    return this.#storage.supports;
  }

  read(buffer: Buffer, bufferOffset: number, length: number, offset: number): Promise<void> {
    return this.#storage.read(buffer, bufferOffset, length, offset);
  }

  write(buffer: Buffer, bufferOffset: number, length: number, offset: number): Promise<void> {
    return this.#storage.write(buffer, bufferOffset, length, offset);
  }

  /** Nothing: see above. */
  async sync(): Promise<void> {}

  discard(offset: number, length: number): Promise<void> {
    return this.#storage.discard(offset, length);
  }

  writeZeroes(
    offset: number,
    length: number,
    mayDiscard: boolean,
    mustBeFast?: boolean,
  ): Promise<void> {
    return this.#storage.writeZeroes(offset, length, mayDiscard, mustBeFast);
  }

  extent(offset: number, length: number): Promise<StorageExtent> {
    return this.#storage.extent(offset, length);
  }

  resize(sizeBytes: number): Promise<void> {
    return this.#storage.resize(sizeBytes);
  }

  close(): Promise<void> {
    return this.#storage.close();
  }
}
