/** Bytes in memory as a storage: for disks that need not outlive the process. */

import { TmemError } from '../../src/lib/errors.ts';
import type {
  ResizableStorage,
  StorageCapabilities,
  StorageExtent,
} from '../../src/storage/storage.ts';

/** How to make a memory storage. */
export interface MemoryStorageOptions {
  readonly name?: string;
  readonly isReadOnly?: boolean;
  /** A format keeps its image in it: writes may go behind the end, and lengthen it. */
  readonly isContainer?: boolean;
}

/** A storage over `bytes`, which it owns from then on; it is lost when the process ends. */
export class MemoryStorage implements ResizableStorage {
  readonly name: string;
  readonly isReadOnly: boolean;
  readonly alignmentBytes = 1;
  readonly supports: StorageCapabilities = { discard: false, fastZeroes: true, extents: false };
  readonly #isContainer: boolean;
  /** Zeros from the end of the storage on; doubled when it is too small. */
  #bytes: Buffer;
  #sizeBytes: number;
  #isClosed = false;

  constructor(bytes: Buffer, options: MemoryStorageOptions = {}) {
    this.name = options.name ?? 'memory';
    this.isReadOnly = options.isReadOnly ?? false;
    this.#isContainer = options.isContainer ?? false;
    this.#bytes = bytes;
    this.#sizeBytes = bytes.length;
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  async read(buffer: Buffer, bufferOffset: number, length: number, offset: number): Promise<void> {
    this.#checkIsOpen();
    buffer.set(this.#range(offset, length), bufferOffset);
  }

  async write(buffer: Buffer, bufferOffset: number, length: number, offset: number): Promise<void> {
    this.#checkIsWritable();
    const source = buffer.subarray(bufferOffset, bufferOffset + length);
    if (source.length !== length) throw new RangeError(`the buffer does not hold ${length} bytes`);
    this.#makeRoom(offset, length);
    this.#range(offset, length).set(source);
  }

  async sync(): Promise<void> {
    this.#checkIsOpen();
  }

  async discard(_offset: number, _length: number): Promise<void> {
    this.#checkIsWritable();
  }

  async writeZeroes(offset: number, length: number, _mayDiscard: boolean): Promise<void> {
    this.#checkIsWritable();
    this.#makeRoom(offset, length);
    this.#range(offset, length).fill(0);
  }

  async extent(offset: number, length: number): Promise<StorageExtent> {
    this.#checkIsOpen();
    if (!this.#isContainer) return { length, isHole: false };
    const storedBytes = this.#sizeBytes - offset;
    if (storedBytes <= 0) return { length, isHole: true };
    return { length: Math.min(length, storedBytes), isHole: false };
  }

  async resize(sizeBytes: number): Promise<void> {
    this.#checkIsWritable();
    this.#resize(sizeBytes);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
  }

  #makeRoom(offset: number, length: number): void {
    if (this.#isContainer && offset + length > this.#sizeBytes) this.#resize(offset + length);
  }

  #resize(sizeBytes: number): void {
    if (sizeBytes > this.#bytes.length) {
      const larger = Buffer.alloc(Math.max(sizeBytes, 2 * this.#bytes.length));
      this.#bytes.copy(larger, 0, 0, this.#sizeBytes);
      this.#bytes = larger;
    }
    this.#bytes.fill(0, Math.min(sizeBytes, this.#sizeBytes), this.#sizeBytes);
    this.#sizeBytes = sizeBytes;
  }

  #range(offset: number, length: number): Buffer {
    const isInside = offset >= 0 && length >= 0 && offset + length <= this.#sizeBytes;
    if (isInside) return this.#bytes.subarray(offset, offset + length);
    throw new RangeError(`${length} bytes at ${offset} are not inside "${this.name}"`);
  }

  #checkIsWritable(): void {
    this.#checkIsOpen();
    if (!this.isReadOnly) return;
    throw new TmemError('read-only', `"${this.name}" is for reading only; write elsewhere`);
  }

  #checkIsOpen(): void {
    if (!this.#isClosed) return;
    throw new TmemError('shutdown', `"${this.name}" is closed; make it anew to use it`);
  }
}
