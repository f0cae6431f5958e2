/** A storage on a file system that has so many blocks and no more. */

import { TmemError } from '../../src/lib/errors.ts';
import { MemoryStorage } from '../storage/memory-storage.ts';

export const BLOCK_BYTES = 4096;

/** What is written takes blocks, holes take none; a write that runs out of them is cut short. */
export class SmallDisk extends MemoryStorage {
  override readonly supports = { discard: true, fastZeroes: true, extents: false };
  readonly #used = new Set<number>();
  #blocksMax = Number.POSITIVE_INFINITY;

  constructor(name: string) {
    super(Buffer.alloc(0), { name, isContainer: true });
  }

  /** From now on there are so many blocks besides those in use. */
  leaveBlocks(count: number): void {
    this.#blocksMax = this.#used.size + count;
  }

  override async write(buffer: Buffer, at: number, length: number, offset: number): Promise<void> {
    const taken = this.#take(offset, length);
    await super.write(buffer, at, taken, offset);
    if (taken < length) throw new TmemError('no-space', 'the disk is full; make room');
  }

  override async writeZeroes(offset: number, length: number, mayDiscard: boolean): Promise<void> {
    const taken = this.#take(offset, length);
    await super.writeZeroes(offset, taken, mayDiscard);
    if (taken < length) throw new TmemError('no-space', 'the disk is full; make room');
  }

  override async discard(offset: number, length: number): Promise<void> {
    await super.writeZeroes(offset, length, true);
    const end = Math.floor((offset + length) / BLOCK_BYTES);
    for (let block = Math.ceil(offset / BLOCK_BYTES); block < end; block++) {
      this.#used.delete(block);
    }
  }

  override async resize(sizeBytes: number): Promise<void> {
    await super.resize(sizeBytes);
    for (const block of this.#used) {
      if (block * BLOCK_BYTES >= sizeBytes) this.#used.delete(block);
    }
  }

  /** Can still be read when the image on it was closed. */
  override async close(): Promise<void> {}

  /** Gives the range blocks, as far as there are any; answers how many bytes of it have some. */
  #take(offset: number, length: number): number {
    const end = offset + length;
    for (let block = Math.floor(offset / BLOCK_BYTES); block * BLOCK_BYTES < end; block++) {
      if (this.#used.has(block)) continue;
      if (this.#used.size >= this.#blocksMax) return Math.max(0, block * BLOCK_BYTES - offset);
      this.#used.add(block);
    }
    return length;
  }
}
