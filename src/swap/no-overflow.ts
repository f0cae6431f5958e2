/** What is below a swap device that has no overflow file: nothing. */

import { TmemError } from '../lib/errors.ts';
import type { Storage, StorageCapabilities, StorageExtent } from '../storage/storage.ts';

/** A storage that holds nothing: it reads as zeros, is one hole, and refuses every write. */
export class NoOverflow implements Storage {
  readonly name: string;
  readonly sizeBytes: number;
  readonly isReadOnly = false;
  readonly alignmentBytes = 1;
  readonly supports: StorageCapabilities = { discard: true, fastZeroes: true, extents: true };
  #isClosed = false;

  constructor(name: string, sizeBytes: number) {
    this.name = name;
    this.sizeBytes = sizeBytes;
  }

  async read(buffer: Buffer, bufferOffset: number, length: number, _offset: number): Promise<void> {
    this.#checkIsOpen();
    if (bufferOffset < 0 || bufferOffset + length > buffer.length) {
      throw new RangeError(`the buffer does not hold ${length} bytes at ${bufferOffset}`);
    }
    buffer.fill(0, bufferOffset, bufferOffset + length);
  }

  async write(_buffer: Buffer, _at: number, length: number, offset: number): Promise<void> {
    this.#checkIsOpen();
    throw new TmemError(
      'no-space',
      `cannot write ${length} bytes at offset ${offset} of "${this.name}": its memory is full and ` +
        'it has no overflow file; give it one or more memory, or discard what is not needed',
      { context: { storage: this.name, verb: 'write', offset, length } },
    );
  }

  /** Nothing is kept, so there is nothing to make stable. */
  async sync(): Promise<void> {
    this.#checkIsOpen();
  }

  async discard(_offset: number, _length: number): Promise<void> {
    this.#checkIsOpen();
  }

  async writeZeroes(_offset: number, _length: number, _mayDiscard: boolean): Promise<void> {
    this.#checkIsOpen();
  }

  async extent(_offset: number, length: number): Promise<StorageExtent> {
    this.#checkIsOpen();
    return { length, isHole: true };
  }

  async close(): Promise<void> {
    this.#isClosed = true;
  }

  #checkIsOpen(): void {
    if (!this.#isClosed) return;
    throw new TmemError('shutdown', `"${this.name}" is closed; open it again to use it`);
  }
}
