/**
 * The overflow of a swap device as a storage: pages that memory has no room for, in one file, in
 * compressed form. Pages are packed into large segments, which go to the file in one write each;
 * what is overwritten or discarded leaves holes, which are made use of by moving what lies between.
 *
 * The content is scratch. It is gone when the storage is closed, and `sync` has nothing to do. A
 * write is done when it is in a segment in memory, from which it can be read; a segment that can not
 * be written stays there, is tried again, and fails later writes, but loses nothing.
 *
 * Everything is allocated when it is opened; a write needs no memory. Requests should be whole,
 * aligned pages; of others the pages that they touch are read, changed and written.
 */

import type { PageCodec } from '../layers/codec.ts';
import { PageEncoder } from '../layers/page-encoder.ts';
import { alignedBuffer } from '../lib/aligned-buffer.ts';
import { TmemError } from '../lib/errors.ts';
import { turnOfTheLoop } from '../lib/turn-of-the-loop.ts';
import { Users } from '../lib/users.ts';
import type { Storage, StorageCapabilities, StorageExtent } from '../storage/storage.ts';
import { FILLED } from '../tmem/layer.ts';
import type { SegmentMedium } from './appender.ts';
import { Cleaner } from './cleaner.ts';
import { geometryFor } from './geometry.ts';
import { eachPart } from './page-parts.ts';
import { type ReadSlot, ReadSlots } from './read-slots.ts';
import { RecordReader } from './record-reader.ts';
import { type OverflowStatistics, RecordStore } from './record-store.ts';

/** Pages compressed, by all writes together, dropped or mapped in one turn of the event loop. */
const WRITE_PAGES_PER_TURN = 64;
const DROP_PAGES_PER_TURN = 16_384;
const EXTENT_PAGES_MAX = 65_536;

/** How to make an overflow storage. */
export interface OverflowOptions {
  /** How messages call the device. */
  readonly name: string;
  readonly sizeBytes: number;
  readonly pageBytes: number;
  readonly codec: PageCodec;
  /** What the segments are kept on. It is the storage's from then on. */
  readonly medium: SegmentMedium;
  /** What the file may grow to, bytes; `geometryFor` says the least. */
  readonly fileBytesMax: number;
  /** 16 bytes that no other device, nor this one in another run, has. */
  readonly deviceId: Buffer;
}

export class OverflowStorage implements Storage {
  readonly name: string;
  readonly sizeBytes: number;
  readonly isReadOnly = false;
  /** The page: requests aligned to it are neither read nor merged before they are written. */
  readonly alignmentBytes: number;
  readonly supports: StorageCapabilities = { discard: true, fastZeroes: true, extents: true };
  readonly statistics: OverflowStatistics;
  /** Buffers, bytes; they do not change while the storage is open. */
  readonly bufferBytes: number;

  readonly #pageBytes: number;
  readonly #store: RecordStore;
  readonly #reader: RecordReader;
  readonly #cleaner: Cleaner;
  readonly #encoder: PageEncoder;
  readonly #slots: ReadSlots;
  readonly #medium: SegmentMedium;
  #turn: Promise<void> | undefined;
  #turnPages = 0; // compressed since the loop was last left to others
  readonly #requests = new Users();
  #closing: Promise<void> | undefined;

  /** Throws a TmemError `usage` when the file may not be large enough for anything. */
  constructor(options: OverflowOptions) {
    const { name, sizeBytes, pageBytes, medium } = options;
    this.name = name;
    this.sizeBytes = sizeBytes;
    this.alignmentBytes = pageBytes;
    this.#pageBytes = pageBytes;
    this.#medium = medium;
    const geometry = geometryFor(options.fileBytesMax, pageBytes);
    const { segmentBytes } = geometry;
    const recordBytesMax = pageBytes + geometry.granuleBytes;
    const slotsAt = 5 * segmentBytes;
    this.bufferBytes = slotsAt + ReadSlots.memoryBytes(recordBytesMax, pageBytes);
    const memory = alignedBuffer(this.bufferBytes);
    const pageCount = Math.ceil(sizeBytes / pageBytes);
    const appended = memory.subarray(0, 4 * segmentBytes);
    this.#store = new RecordStore(pageCount, geometry, options.deviceId, medium, appended);
    this.#cleaner = new Cleaner(this.#store, memory.subarray(4 * segmentBytes, slotsAt));
    this.#slots = new ReadSlots(memory.subarray(slotsAt), recordBytesMax, pageBytes);
    this.#encoder = new PageEncoder(options.codec, pageBytes);
    this.#reader = new RecordReader(this.#store, this.#encoder);
    this.statistics = this.#store.statistics;
  }

  /** Tables, bytes: for the whole device, whether it is full or empty. */
  get metadataBytes(): number {
    return this.#store.metadataBytes;
  }

  /** Bytes of records that are live, and how many of those there may be: then it is full. */
  get liveBytes(): number {
    return this.#store.table.liveBytes;
  }
  get capacityBytes(): number {
    return this.#store.geometry.capacityBytes;
  }
  /** Bytes of records that are not live any more, and not yet cleaned away. */
  get deadBytes(): number {
    return this.#store.table.usedBytes - this.#store.table.liveBytes;
  }
  /** Bytes of segments with nothing in them. */
  get freeBytes(): number {
    return this.#store.table.freeCount * this.#store.geometry.segmentBytes;
  }
  get segmentCount(): number {
    return this.#store.table.count;
  }
  /** Segments that can not be cleaned, because something in them can not be read. */
  get damagedSegments(): number {
    return this.#store.table.damagedCount;
  }
  /** Pages in records; and pages that repeat a word other than zero, which take no room. */
  get storedPages(): number {
    return this.#store.map.recordCount;
  }
  get filledPages(): number {
    return this.#store.map.filledCount;
  }

  read(buffer: Buffer, bufferOffset: number, length: number, offset: number): Promise<void> {
    return this.#request('read', offset, length, buffer, bufferOffset, async () => {
      await eachPart(this.#pageBytes, offset, length, bufferOffset, {
        pages: (first, count, at) => this.#readPages(first, first + count, buffer, at),
        part: (page, from, count, at) => this.#readPart(page, from, count, buffer, at),
      });
    });
  }

  write(buffer: Buffer, bufferOffset: number, length: number, offset: number): Promise<void> {
    return this.#request('write', offset, length, buffer, bufferOffset, async () => {
      await eachPart(this.#pageBytes, offset, length, bufferOffset, {
        pages: (first, count, at) => this.#writePages(first, first + count, buffer, at),
        part: (page, from, count, at) =>
          this.#changePart(page, (bytes) => buffer.copy(bytes, from, at, at + count)),
      });
    });
  }

  /** Nothing here outlives the storage, so there is nothing to make stable. */
  sync(): Promise<void> {
    return this.#request('sync', 0, 0, undefined, 0, async () => {});
  }

  /** Whole pages are dropped, also one that the device ends in, and read as zeros; the rest stays as it is. */
  discard(offset: number, length: number): Promise<void> {
    return this.#request('discard', offset, length, undefined, 0, async () => {
      await eachPart(this.#pageBytes, offset, length, 0, {
        pages: (first, count) => this.#dropPages(first, first + count),
        part: async (page, from, count) => {
          const isRest = from === 0 && page * this.#pageBytes + count === this.sizeBytes;
          if (isRest) this.#store.drop(page); // all that there is of the last page
        },
      });
    });
  }

  /** Whole pages are dropped whatever `mayDiscard` says: no page has a place of its own to keep. */
  writeZeroes(offset: number, length: number): Promise<void> {
    return this.#request('zero', offset, length, undefined, 0, async () => {
      await eachPart(this.#pageBytes, offset, length, 0, {
        pages: (first, count) => this.#dropPages(first, first + count),
        part: (page, from, count) =>
          this.#changePart(page, (bytes) => bytes.fill(0, from, from + count)),
      });
    });
  }

  /** A page that was never written, was dropped, or is all zeros is a hole. */
  async extent(offset: number, length: number): Promise<StorageExtent> {
    if (this.#closing !== undefined) throw this.#closed();
    const { map } = this.#store;
    const first = Math.floor(offset / this.#pageBytes);
    const end = Math.min(Math.ceil((offset + length) / this.#pageBytes), first + EXTENT_PAGES_MAX);
    const isHole = map.isHole(first);
    let page = first + 1;
    while (page < end && map.isHole(page) === isHole) page++;
    return { length: Math.min(length, page * this.#pageBytes - offset), isHole };
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await this.#requests.gone();
    await this.#cleaner.close();
    // Nobody will read what is in memory; but what is being written must not be overtaken.
    const { guest, mover } = this.#store;
    await Promise.allSettled([guest.settle(), mover.settle()]);
    await this.#medium.close();
  }

  /** Reads of the file go on at the same time; all have ended when this settles. */
  async #readPages(first: number, end: number, buffer: Buffer, at: number): Promise<void> {
    const loads: Promise<void>[] = [];
    try {
      for (let page = first; page < end; ) {
        const to = at + (page - first) * this.#pageBytes;
        if (this.#reader.readNow(page, buffer, to)) {
          page++;
          continue;
        }
        const slot = this.#slots.take() ?? (await this.#slots.wait());
        // It may have come to memory, or be gone, while this waited.
        const count = this.#reader.plan(slot, page, end);
        if (count === 0) this.#slots.give(slot);
        else loads.push(handled(this.#load(slot, page, buffer, to)));
        page += count;
      }
    } finally {
      await Promise.allSettled(loads);
    }
    await Promise.all(loads);
  }

  async #load(slot: ReadSlot, page: number, buffer: Buffer, at: number): Promise<void> {
    try {
      await this.#reader.load(slot, page, buffer, at);
    } finally {
      this.#slots.give(slot);
    }
  }

  async #readPart(
    page: number,
    from: number,
    count: number,
    buffer: Buffer,
    at: number,
  ): Promise<void> {
    const slot = this.#slots.take() ?? (await this.#slots.wait());
    try {
      await this.#fetch(slot, page);
      slot.page.copy(buffer, at, from, from + count);
    } finally {
      this.#slots.give(slot);
    }
  }

  /** Reads a page to `slot.page`. */
  async #fetch(slot: ReadSlot, page: number): Promise<void> {
    if (this.#reader.readNow(page, slot.page, 0)) return;
    this.#reader.plan(slot, page, page + 1);
    await this.#reader.load(slot, page, slot.page, 0);
  }

  async #writePages(first: number, end: number, buffer: Buffer, at: number): Promise<void> {
    for (let page = first; page < end; page++) {
      while (!this.#mayWrite) await this.#wait();
      this.#writePage(page, buffer, at + (page - first) * this.#pageBytes);
    }
  }

  /** Whether there is room, and all writes together have not yet had their share of this turn. */
  get #mayWrite(): boolean {
    return this.#turnPages < WRITE_PAGES_PER_TURN && this.#store.guest.hasRoom;
  }

  #wait(): Promise<void> {
    const isTurnOver = this.#turnPages >= WRITE_PAGES_PER_TURN;
    return isTurnOver ? this.#nextTurn() : this.#cleaner.makeRoom();
  }

  #nextTurn(): Promise<void> {
    this.#turn ??= turnOfTheLoop().then(() => {
      this.#turn = undefined;
      this.#turnPages = 0;
    });
    return this.#turn;
  }

  /** Changes a page that is not overwritten whole: again, if somebody else changed it meanwhile. */
  async #changePart(page: number, change: (bytes: Buffer) => void): Promise<void> {
    const slot = this.#slots.take() ?? (await this.#slots.wait());
    try {
      for (;;) {
        while (!this.#mayWrite) await this.#wait();
        const before = this.#store.whereabouts(page);
        await this.#fetch(slot, page);
        if (!this.#store.isStill(page, before) || !this.#store.guest.hasRoom) continue;
        change(slot.page);
        this.#writePage(page, slot.page, 0);
        return;
      }
    } finally {
      this.#slots.give(slot);
    }
  }

  /** Writes a page to the segment in memory, which has room. The page it was stays if this throws. */
  #writePage(page: number, src: Buffer, srcOffset: number): void {
    this.#turnPages++;
    const encoder = this.#encoder;
    const encoding = encoder.encode(src, srcOffset, this.#pageBytes);
    if (encoding === FILLED) {
      this.#store.fill(page, encoder.encoded.readUInt32LE(0));
      return;
    }
    const bytes = this.#store.format.recordBytes(encoder.length);
    if (!this.#store.hasCapacity(page, bytes)) throw this.#cleaner.full();
    const { guest, statistics } = this.#store;
    this.#store.put(guest, page, encoding, encoder.encoded, 0, encoder.length);
    statistics.recordsWritten++;
    statistics.originalBytes += this.#pageBytes;
    statistics.storedBytes += bytes;
  }

  async #dropPages(first: number, end: number): Promise<void> {
    for (let page = first; page < end; page++) {
      this.#store.drop(page);
      if ((page - first + 1) % DROP_PAGES_PER_TURN === 0) await turnOfTheLoop();
    }
  }

  /** Runs a request; close waits for it, and its failure says what was asked of whom. */
  async #request(
    verb: string,
    offset: number,
    length: number,
    buffer: Buffer | undefined,
    bufferOffset: number,
    run: () => Promise<void>,
  ): Promise<void> {
    if (this.#closing !== undefined) throw this.#closed();
    const isRange = Number.isSafeInteger(offset) && offset >= 0 && length >= 0;
    if (!isRange || offset + length > this.sizeBytes) {
      throw new RangeError(`${verb} of ${length} bytes at ${offset} is outside "${this.name}"`);
    }
    if (buffer !== undefined && (bufferOffset < 0 || bufferOffset + length > buffer.length)) {
      throw new RangeError(`${verb} of ${length} bytes at ${offset} does not fit the buffer`);
    }
    try {
      await this.#requests.during(run());
    } catch (cause) {
      throw this.#failure(verb, offset, length, cause);
    }
  }

  #closed(): TmemError {
    return new TmemError('shutdown', `"${this.name}" is closed; open it again to use it`);
  }

  #failure(verb: string, offset: number, length: number, cause: unknown): unknown {
    if (!(cause instanceof TmemError)) return cause;
    return new TmemError(
      cause.kind,
      `cannot ${verb} ${length} bytes at offset ${offset} of "${this.name}": ${cause.message}`,
      { context: { ...cause.context, storage: this.name, verb, offset, length }, cause },
    );
  }
}

/** The promise, whose rejection is looked at later: until then it is not an unhandled one. */
function handled(promise: Promise<void>): Promise<void> {
  promise.catch(() => {});
  return promise;
}
