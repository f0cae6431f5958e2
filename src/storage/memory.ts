/** Bytes in memory as a storage: for disks that need not outlive the process. */

import { TmemError } from '../lib/errors.ts';
import type { Storage, StorageCapabilities, StorageExtent } from './storage.ts';

/** How to make a memory storage. */
export interface MemoryStorageOptions {
  readonly name?: string;
  readonly isReadOnly?: boolean;
}

/** A storage over `bytes`, which it owns from then on; it is lost when the process ends. */
export class MemoryStorage implements Storage {
  readonly name: string;
  readonly isReadOnly: boolean;
  readonly alignmentBytes = 1;
  readonly supports: StorageCapabilities = { discard: false, fastZeroes: true, extents: false };
  readonly #bytes: Buffer;
  #isClosed = false;

  constructor(bytes: Buffer, options: MemoryStorageOptions = {}) {
    this.name = options.name ?? 'memory';
    this.isReadOnly = options.isReadOnly ?? false;
    this.#bytes = bytes;
  }

  get sizeBytes(): number {
    return this.#bytes.length;
  }

  async read(buffer: Buffer, bufferOffset: number, length: number, offset: number): Promise<void> {
    this.#checkIsOpen();
    buffer.set(this.#range(offset, length), bufferOffset);
  }

  async write(buffer: Buffer, bufferOffset: number, length: number, offset: number): Promise<void> {
    this.#checkIsWritable();
    const source = buffer.subarray(bufferOffset, bufferOffset + length);
    if (source.length !== length) throw new RangeError(`the buffer does not hold ${length} bytes`);
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
    this.#range(offset, length).fill(0);
  }

  async extent(_offset: number, length: number): Promise<StorageExtent> {
    this.#checkIsOpen();
    return { length, isHole: false };
  }

  async close(): Promise<void> {
    this.#isClosed = true;
  }

  #range(offset: number, length: number): Buffer {
    const range = this.#bytes.subarray(offset, offset + length);
    if (range.length !== length) {
      throw new RangeError(`${length} bytes at ${offset} are not inside "${this.name}"`);
    }
    return range;
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
