/**
 * A disk in memory: slabs of 64 KiB that are there where something other than zeros was written,
 * each a buffer of its own, so that a slab that is given up returns its memory. Nothing of it
 * outlives the process.
 */

import { TmemError } from '../lib/errors.ts';
import type { Storage, StorageCapabilities, StorageExtent } from './storage.ts';

const SLAB_BYTES = 64 * 1024;
const zeroSlab = Buffer.alloc(SLAB_BYTES);

export class RamStorage implements Storage {
  readonly name: string;
  readonly sizeBytes: number;
  readonly isReadOnly = false;
  readonly alignmentBytes = 1;
  readonly supports: StorageCapabilities = { discard: true, fastZeroes: true, extents: true };
  readonly #slabs = new Map<number, Buffer>();
  #isClosed = false;

  constructor(name: string, sizeBytes: number) {
    this.name = name;
    this.sizeBytes = sizeBytes;
  }

  /** Bytes of memory that are held now. */
  get usedBytes(): number {
    return this.#slabs.size * SLAB_BYTES;
  }

  async read(buffer: Buffer, bufferOffset: number, length: number, offset: number): Promise<void> {
    this.#forEachSlab(offset, length, (slab, from, bytes, done) => {
      const at = bufferOffset + done;
      const held = this.#slabs.get(slab);
      if (held === undefined) buffer.fill(0, at, at + bytes);
      else held.copy(buffer, at, from, from + bytes);
    });
  }

  async write(buffer: Buffer, bufferOffset: number, length: number, offset: number): Promise<void> {
    this.#forEachSlab(offset, length, (slab, from, bytes, done) => {
      const at = bufferOffset + done;
      buffer.copy(this.#slabs.get(slab) ?? this.#newSlab(slab), from, at, at + bytes);
    });
  }

  /** There is nothing that could outlive the process. */
  async sync(): Promise<void> {
    this.#checkIsOpen();
  }

  discard(offset: number, length: number): Promise<void> {
    return this.writeZeroes(offset, length);
  }

  async writeZeroes(offset: number, length: number): Promise<void> {
    this.#forEachSlab(offset, length, (slab, from, bytes) => {
      const held = this.#slabs.get(slab);
      if (held === undefined) return;
      held.fill(0, from, from + bytes);
      if (bytes === SLAB_BYTES || held.equals(zeroSlab)) this.#slabs.delete(slab);
    });
  }

  async extent(offset: number, length: number): Promise<StorageExtent> {
    this.#checkRange(offset, length);
    let slab = Math.floor(offset / SLAB_BYTES);
    const isHole = !this.#slabs.has(slab);
    const end = offset + length;
    while (slab * SLAB_BYTES < end && this.#slabs.has(slab) !== isHole) slab++;
    return { length: Math.min(end, slab * SLAB_BYTES) - offset, isHole };
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#slabs.clear();
  }

  #newSlab(slab: number): Buffer {
    const made = Buffer.alloc(SLAB_BYTES);
    this.#slabs.set(slab, made);
    return made;
  }

  /** `visit` gets the slab, where in it the range is, how long, and how much was visited before. */
  #forEachSlab(
    offset: number,
    length: number,
    visit: (slab: number, from: number, bytes: number, done: number) => void,
  ): void {
    this.#checkRange(offset, length);
    for (let done = 0; done < length; ) {
      const from = (offset + done) % SLAB_BYTES;
      const bytes = Math.min(length - done, SLAB_BYTES - from);
      visit(Math.floor((offset + done) / SLAB_BYTES), from, bytes, done);
      done += bytes;
    }
  }

  #checkRange(offset: number, length: number): void {
    this.#checkIsOpen();
    if (offset >= 0 && length >= 0 && offset + length <= this.sizeBytes) return;
    throw new RangeError(`${length} bytes at ${offset} are not inside "${this.name}"`);
  }

  #checkIsOpen(): void {
    if (!this.#isClosed) return;
    throw new TmemError('shutdown', `"${this.name}" is closed; make it anew to use it`);
  }
}
