/**
 * An open copy-on-write image: a block lies at its own offset behind the header and the bitmap, so
 * that nothing is ever allocated, moved or freed; only bits are set.
 *
 * Crash rule: a bit reaches the disk only after the block that it speaks of. What is lost with a crash
 * are bits of blocks that no FLUSH covered: there the base shows through again, as before the write.
 */

import { JoinedRuns } from '../../lib/joined-runs.ts';
import type { ResizableStorage } from '../../storage/storage.ts';
import type { Mapping, WritableFormat, WriteTarget } from '../format.ts';
import { UnitsInFlight } from '../tables/units-in-flight.ts';
import { type BlockBitmap, writeSectors } from './bitmap.ts';
import { type CowHeader, encodeHeader, HEADER_BYTES, HEADER_COUNT } from './header.ts';

/** A page of the bitmap gets its space on the disk as a whole. */
const PAGE_BYTES = 4096;
const PAGE_BLOCKS = 8 * PAGE_BYTES;

export interface CowDiskParts {
  readonly storage: ResizableStorage;
  readonly header: CowHeader;
  readonly bitmap: BlockBitmap;
}

export class CowDisk implements WritableFormat {
  readonly isWritable = true;
  readonly formatName = 'cow';
  readonly virtualSizeBytes: number;
  readonly unitBytes: number;
  readonly storages: readonly ResizableStorage[];
  readonly #storage: ResizableStorage;
  readonly #bitmap: BlockBitmap;
  readonly #dataOffset: number;
  readonly #units = new UnitsInFlight();
  /** Pages of the bitmap that have space on the disk. */
  readonly #settled = new Set<number>();
  readonly #settling = new Map<number, Promise<void>>();
  readonly #syncs = new JoinedRuns(() => this.#syncNow());
  #header: CowHeader;

  constructor({ storage, header, bitmap }: CowDiskParts) {
    this.#storage = storage;
    this.#header = header;
    this.#bitmap = bitmap;
    this.#dataOffset = header.dataOffset;
    this.virtualSizeBytes = header.virtualSizeBytes;
    this.unitBytes = header.blockBytes;
    this.storages = [storage];
  }

  get pinnedBytes(): number {
    return this.#header.bitmapBytes;
  }

  map(offset: number, length: number): Mapping {
    const block = Math.floor(offset / this.unitBytes);
    const countMax = Math.ceil((offset + length) / this.unitBytes) - block;
    const end = (block + this.#bitmap.runFrom(block, countMax)) * this.unitBytes;
    const run = Math.min(end, this.virtualSizeBytes) - offset;
    if (!this.#bitmap.has(block)) return { kind: 'hole', length: run };
    const storageOffset = this.#dataOffset + offset;
    return { kind: 'data', length: run, storage: this.#storage, storageOffset };
  }

  allocate(offset: number, length: number): WriteTarget | Promise<WriteTarget> {
    const first = Math.floor(offset / this.unitBytes);
    const countMax = Math.ceil((offset + length) / this.unitBytes) - first;
    const bitmap = this.#bitmap;
    const storage = this.#storage;
    const storageOffset = this.#dataOffset + offset;
    if (bitmap.has(first)) {
      const end = (first + bitmap.runFrom(first, countMax)) * this.unitBytes;
      const run = Math.min(length, end - offset);
      return { length: run, storage, storageOffset, headBytes: 0, tailBytes: 0 };
    }
    const wait = this.#units.waitFor(first) ?? this.#settle(first);
    if (wait !== undefined) return wait.then(() => this.allocate(offset, length));
    const count = this.#freeRun(first, first + countMax);
    const release = this.#units.take(first, count);
    const start = first * this.unitBytes;
    const end = Math.min((first + count) * this.unitBytes, this.virtualSizeBytes);
    const run = Math.min(length, end - offset);
    return {
      length: run,
      storage,
      storageOffset: this.#dataOffset + start,
      headBytes: offset - start,
      tailBytes: end - offset - run,
      commit: () => {
        for (let block = first; block < first + count; block++) bitmap.set(block);
        release();
      },
      abort: release,
    };
  }

  /** Blocks that are here become zeros, or holes of the file; others are put here as such. */
  async zero(
    offset: number,
    length: number,
    mayDiscard: boolean,
    mustBeFast = false,
  ): Promise<boolean> {
    const first = Math.floor(offset / this.unitBytes);
    const end = Math.ceil((offset + length) / this.unitBytes);
    for (let block = first; block < end; ) {
      const wait = this.#units.waitFor(block) ?? this.#settle(block);
      if (wait !== undefined) {
        await wait;
        continue;
      }
      const count = this.#freeRun(block, end);
      const release = this.#bitmap.has(block) ? undefined : this.#units.take(block, count);
      const stop = Math.min((block + count) * this.unitBytes, this.virtualSizeBytes);
      try {
        const start = block * this.unitBytes;
        const at = this.#dataOffset + start;
        await this.#storage.writeZeroes(at, stop - start, mayDiscard, mustBeFast);
        for (let each = block; each < block + count; each++) this.#bitmap.set(each);
      } finally {
        release?.();
      }
      block += count;
    }
    return true;
  }

  /** Only blocks that are here are given up, and stay here as zeros: the base must not come back. */
  async discard(offset: number, length: number): Promise<void> {
    const end = offset + length;
    for (let at = offset; at < end; ) {
      const run = this.map(at, end - at);
      const bytes = Math.min(run.length, end - at);
      if (run.kind === 'data') await this.#storage.discard(run.storageOffset, bytes);
      at += bytes;
    }
  }

  sync(): Promise<void> {
    return this.#syncs.run();
  }

  /** Notes durably that the base is not needed any more: what is not here reads as zeros. */
  async dropBacking(): Promise<void> {
    await this.sync();
    const generation = this.#header.generation + 1;
    const header: CowHeader = { ...this.#header, generation, isLinear: true };
    const place = (generation % HEADER_COUNT) * HEADER_BYTES;
    await this.#storage.write(encodeHeader(header), 0, HEADER_BYTES, place);
    await this.#storage.sync();
    this.#header = header;
  }

  async close(): Promise<void> {
    if (!this.#storage.isReadOnly) await this.sync();
  }

  /**
   * Gives the page of a block's bit its space before the first bit of it is set: a disk that is full
   * then refuses the write, and not the FLUSH after it. Undefined when it has that.
   */
  #settle(block: number): Promise<void> | undefined {
    const page = Math.floor(block / PAGE_BLOCKS);
    if (this.#settled.has(page)) return undefined;
    let settling = this.#settling.get(page);
    if (settling === undefined) {
      settling = this.#settlePage(page).finally(() => this.#settling.delete(page));
      this.#settling.set(page, settling);
    }
    return settling;
  }

  async #settlePage(page: number): Promise<void> {
    const first = page * PAGE_BLOCKS;
    const count = Math.min(PAGE_BLOCKS, this.#bitmap.blockCount - first);
    const isEmpty = !this.#bitmap.has(first) && this.#bitmap.runFrom(first, count) === count;
    const offset = this.#header.bitmapOffset + page * PAGE_BYTES;
    if (isEmpty) await this.#storage.writeZeroes(offset, PAGE_BYTES, false);
    this.#settled.add(page);
  }

  /** How many blocks of this one's page are from it on as it is, and in nobody's hands. */
  #freeRun(block: number, end: number): number {
    const pageEnd = (Math.floor(block / PAGE_BLOCKS) + 1) * PAGE_BLOCKS;
    const alike = this.#bitmap.runFrom(block, Math.min(end, pageEnd) - block);
    let count = 1;
    while (count < alike && !this.#units.has(block + count)) count++;
    return count;
  }

  async #syncNow(): Promise<void> {
    const taken = this.#bitmap.takeDirty();
    try {
      await this.#storage.sync();
      if (taken.runs.length === 0) return;
      await writeSectors(this.#storage, this.#header.bitmapOffset, taken);
      await this.#storage.sync();
    } catch (cause) {
      this.#bitmap.giveBack(taken);
      throw cause;
    }
  }
}
