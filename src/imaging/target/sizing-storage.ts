/** A storage that remembers how long it became: a new image is made in it to see what it takes. */

import type {
  ResizableStorage,
  StorageCapabilities,
  StorageExtent,
} from '../../storage/storage.ts';

/** Where headers and descriptors are. */
const HEAD_BYTES = 64 * 1024;

/** Keeps the first 64 KiB, and of the rest nothing; all of that reads as zeros. */
export class SizingStorage implements ResizableStorage {
  readonly name: string;
  readonly isReadOnly = false;
  readonly alignmentBytes = 1;
  readonly supports: StorageCapabilities = { discard: true, fastZeroes: true, extents: false };
  readonly #head = Buffer.alloc(HEAD_BYTES);
  #sizeBytes = 0;

  constructor(name: string) {
    this.name = name;
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  async read(buffer: Buffer, bufferOffset: number, length: number, offset: number): Promise<void> {
    buffer.fill(0, bufferOffset, bufferOffset + length);
    if (offset < HEAD_BYTES) this.#head.copy(buffer, bufferOffset, offset, offset + length);
  }

  async write(buffer: Buffer, bufferOffset: number, length: number, offset: number): Promise<void> {
    this.#sizeBytes = Math.max(this.#sizeBytes, offset + length);
    if (offset < HEAD_BYTES) buffer.copy(this.#head, offset, bufferOffset, bufferOffset + length);
  }

  async writeZeroes(offset: number, length: number): Promise<void> {
    this.#sizeBytes = Math.max(this.#sizeBytes, offset + length);
    if (offset < HEAD_BYTES) this.#head.fill(0, offset, Math.min(HEAD_BYTES, offset + length));
  }

  async resize(sizeBytes: number): Promise<void> {
    this.#sizeBytes = sizeBytes;
  }

  async extent(_offset: number, length: number): Promise<StorageExtent> {
    return { length, isHole: false };
  }

  async sync(): Promise<void> {}

  async discard(): Promise<void> {}

  async close(): Promise<void> {}
}
