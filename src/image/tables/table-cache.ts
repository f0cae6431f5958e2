/**
 * The tables of an image, held in memory in slices of what is on its storage, so that one entry of a
 * large table costs a small read. Clean slices are the cache's to drop, least recently used first;
 * a slice that was changed stays until it is written.
 */

import { LRUCache } from 'lru-cache';
import { settleAll } from '../../lib/settle-all.ts';
import type { ResizableStorage } from '../../storage/storage.ts';
import { readPadded } from './read-padded.ts';

/** Slices that lie side by side are written as one, up to this many bytes. */
const WRITE_BYTES_MAX = 1 << 20;

/** Counters of a cache of tables; plain fields, read at scrape time. */
export interface TableStatistics {
  hits: number;
  misses: number;
  evictions: number;
  /** In memory now, and how much may be. */
  bytes: number;
  readonly limitBytes: number;
}

export interface TableCacheOptions {
  readonly storage: ResizableStorage;
  /** Bytes of a slice; its offset is a multiple of them. Default 4096. */
  readonly sliceBytes?: number;
  /** Bytes of slices to hold; more only when changed slices alone come to more. */
  readonly limitBytes: number;
}

/** A slice that the storage does not have as it is here. */
interface DirtySlice {
  readonly buffer: Buffer;
  /** Counts its changes; a write makes it clean only if there was none since its copy. */
  version: number;
}

/** A slice on its way from the storage. */
interface SliceLoad {
  readonly buffer: Buffer;
  readonly done: Promise<Buffer>;
}

/** Where a slice will be in what is read of several at once. */
interface RunPiece {
  readonly run: Buffer;
  readonly at: number;
  readonly whole: Promise<void>;
}

/** A write of a slice that is under way, or waits for the one before. */
interface SliceWrite {
  readonly slice: DirtySlice;
  readonly version: number;
  readonly done: Promise<void>;
}

/**
 * Offsets are those of slices on the storage. A slice that `get`, `load` or `create` gave is the one
 * and only copy until the event loop turns: whoever waits for I/O asks for it again. Changes to it
 * are followed by `markDirty` before that.
 */
export class TableCache {
  readonly sliceBytes: number;
  readonly statistics: TableStatistics;

  readonly #storage: ResizableStorage;
  readonly #clean: LRUCache<number, Buffer>;
  readonly #dirty = new Map<number, DirtySlice>();
  /** Evicted in this turn of the event loop, while somebody may be about to change them. */
  readonly #leaving = new Map<number, Buffer>();
  readonly #loads = new Map<number, SliceLoad>();
  readonly #writes = new Map<number, SliceWrite>();

  constructor(options: TableCacheOptions) {
    const { storage, sliceBytes = 4096, limitBytes } = options;
    this.#storage = storage;
    this.sliceBytes = sliceBytes;
    const statistics = { hits: 0, misses: 0, evictions: 0, bytes: 0, limitBytes };
    this.statistics = statistics;
    this.#clean = new LRUCache({
      max: Math.max(1, Math.floor(limitBytes / sliceBytes)),
      dispose: (buffer, sliceOffset, reason) => {
        if (reason !== 'evict') return;
        statistics.evictions++;
        if (this.#leaving.size === 0) setImmediate(() => this.#leaving.clear());
        this.#leaving.set(sliceOffset, buffer);
      },
    });
  }

  /** Bytes of slices that were changed and are not written yet. */
  get dirtyBytes(): number {
    return this.#dirty.size * this.sliceBytes;
  }

  isDirty(sliceOffset: number): boolean {
    return this.#dirty.has(sliceOffset);
  }

  /** The offsets of all dirty slices, in no order. */
  dirtyOffsets(): Iterable<number> {
    return this.#dirty.keys();
  }

  /** The slice if it is in memory. */
  get(sliceOffset: number): Buffer | undefined {
    const slice = this.#find(sliceOffset);
    if (slice !== undefined) this.statistics.hits++;
    return slice;
  }

  /**
   * The slice, read if need be; bytes behind the end of the storage are zeros. With it come those of
   * the `aheadBytes` behind it, up to one that is in memory: all of them must be of tables, and few
   * beside the limit.
   */
  async load(sliceOffset: number, aheadBytes = 0): Promise<Buffer> {
    this.#checkOffset(sliceOffset);
    const present = this.#find(sliceOffset);
    if (present !== undefined) return present;
    this.statistics.misses++;
    const running = this.#loads.get(sliceOffset);
    if (running !== undefined) return running.done;
    const { sliceBytes } = this;
    let end = sliceOffset + sliceBytes;
    const isAbsent = () => this.#find(end) === undefined && !this.#loads.has(end);
    while (end <= sliceOffset + aheadBytes && isAbsent()) end += sliceBytes;
    if (end === sliceOffset + sliceBytes) return this.#beginLoad(sliceOffset);
    const run = Buffer.allocUnsafeSlow(end - sliceOffset);
    const whole = readPadded(this.#storage, run, 0, run.length, sliceOffset);
    for (let at = sliceOffset + sliceBytes; at < end; at += sliceBytes) {
      // Who asks for it meanwhile hears of a failure.
      this.#beginLoad(at, { run, at: at - sliceOffset, whole }).catch(() => undefined);
    }
    return this.#beginLoad(sliceOffset, { run, at: 0, whole });
  }

  /** A slice of zeros, dirty from the start, whatever the storage has there: for a new table. */
  create(sliceOffset: number): Buffer {
    this.#checkOffset(sliceOffset);
    this.#forget(sliceOffset);
    const buffer = Buffer.alloc(this.sliceBytes);
    this.#dirty.set(sliceOffset, { buffer, version: 0 });
    this.#trim();
    return buffer;
  }

  /** The slice was changed: it stays in memory until `writeBack` has written it as it is now. */
  markDirty(sliceOffset: number): void {
    const dirty = this.#dirty.get(sliceOffset);
    if (dirty !== undefined) {
      dirty.version++;
      return;
    }
    const buffer = this.#find(sliceOffset);
    if (buffer === undefined) throw new Error(`tables: no slice at ${sliceOffset} is in memory`);
    this.#clean.delete(sliceOffset);
    this.#leaving.delete(sliceOffset);
    this.#dirty.set(sliceOffset, { buffer, version: 0 });
    this.#trim();
  }

  /**
   * Writes the dirty slices, or those of them in `offsets`, as they are at the call. A slice that is
   * changed meanwhile stays dirty, as does one whose write fails; the first failure rejects when
   * all writes have ended. With `after` they begin when that resolves, and fail as it does.
   */
  async writeBack(
    offsets: Iterable<number> = this.#dirty.keys(),
    after?: Promise<void>,
  ): Promise<void> {
    const wanted: number[] = [];
    const writes = new Set<Promise<void>>();
    for (const sliceOffset of new Set(offsets)) {
      const slice = this.#dirty.get(sliceOffset);
      if (slice === undefined) continue;
      const write = this.#writes.get(sliceOffset);
      if (write?.slice === slice && write.version === slice.version) writes.add(write.done);
      else wanted.push(sliceOffset);
    }
    wanted.sort((a, b) => a - b);
    const runSlicesMax = Math.max(1, Math.floor(WRITE_BYTES_MAX / this.sliceBytes));
    for (let first = 0; first < wanted.length; ) {
      let end = first + 1;
      while (end - first < runSlicesMax && wanted[end] === wanted[end - 1]! + this.sliceBytes)
        end++;
      writes.add(this.#beginWrite(wanted.slice(first, end), after));
      first = end;
    }
    await settleAll([...writes]);
  }

  /** The table in that range is no more: its slices are forgotten, changed or not. */
  drop(offset: number, length: number): void {
    const { sliceBytes } = this;
    const first = Math.floor(offset / sliceBytes) * sliceBytes;
    for (let at = first; at < offset + length; at += sliceBytes) this.#forget(at);
  }

  #find(sliceOffset: number): Buffer | undefined {
    const dirty = this.#dirty.get(sliceOffset);
    if (dirty !== undefined) return dirty.buffer;
    return this.#clean.get(sliceOffset) ?? this.#leaving.get(sliceOffset);
  }

  #beginLoad(sliceOffset: number, piece?: RunPiece): Promise<Buffer> {
    const buffer = Buffer.allocUnsafeSlow(this.sliceBytes);
    const done = this.#load(sliceOffset, buffer, piece);
    this.#loads.set(sliceOffset, { buffer, done });
    return done;
  }

  /** Of a run that cannot be read as a whole, each slice is read by itself. */
  async #fill(buffer: Buffer, sliceOffset: number, piece: RunPiece | undefined): Promise<void> {
    if (piece !== undefined) {
      const isRead = await piece.whole.then(
        () => true,
        () => false,
      );
      if (isRead) {
        piece.run.copy(buffer, 0, piece.at, piece.at + this.sliceBytes);
        return;
      }
    }
    await readPadded(this.#storage, buffer, 0, this.sliceBytes, sliceOffset);
  }

  async #load(sliceOffset: number, buffer: Buffer, piece?: RunPiece): Promise<Buffer> {
    const isWanted = () => this.#loads.get(sliceOffset)?.buffer === buffer;
    try {
      await this.#fill(buffer, sliceOffset, piece);
      // The table may have been made anew, or dropped, while the old bytes were on their way.
      if (!isWanted()) return this.#find(sliceOffset) ?? buffer;
      this.#clean.set(sliceOffset, buffer);
      this.#trim();
      return buffer;
    } finally {
      if (isWanted()) this.#loads.delete(sliceOffset);
    }
  }

  /** Takes a copy of the slices, which lie side by side, and writes it after older ones of them. */
  #beginWrite(offsets: readonly number[], after: Promise<void> | undefined): Promise<void> {
    const { sliceBytes } = this;
    const copy = Buffer.allocUnsafeSlow(offsets.length * sliceBytes);
    const slices = offsets.map((offset) => this.#dirty.get(offset)!);
    const versions = slices.map(({ version }) => version);
    for (const [i, { buffer }] of slices.entries()) buffer.copy(copy, i * sliceBytes);
    const older = offsets.flatMap((offset) => this.#writes.get(offset)?.done ?? []);
    const done = this.#write(offsets, copy, slices, versions, older, after);
    done.catch(() => undefined); // who waits for it hears of it
    for (const [i, offset] of offsets.entries()) {
      this.#writes.set(offset, { slice: slices[i]!, version: versions[i]!, done });
    }
    return done;
  }

  async #write(
    offsets: readonly number[],
    copy: Buffer,
    slices: readonly DirtySlice[],
    versions: readonly number[],
    older: readonly Promise<void>[],
    after: Promise<void> | undefined,
  ): Promise<void> {
    await Promise.allSettled(older);
    try {
      await after;
      await this.#writeCurrent(offsets, copy, slices);
      for (const [i, offset] of offsets.entries()) {
        const slice = this.#dirty.get(offset);
        if (slice === undefined || slice !== slices[i] || slice.version !== versions[i]) continue;
        this.#becomeClean(offset, slice);
      }
    } finally {
      for (const [i, offset] of offsets.entries()) {
        const write = this.#writes.get(offset);
        if (write?.slice === slices[i] && write?.version === versions[i]) {
          this.#writes.delete(offset);
        }
      }
    }
  }

  /** Writes the pieces of `copy` whose slices were not dropped while older writes were waited for. */
  async #writeCurrent(
    offsets: readonly number[],
    copy: Buffer,
    slices: readonly DirtySlice[],
  ): Promise<void> {
    const { sliceBytes } = this;
    const isCurrent = (i: number) => this.#dirty.get(offsets[i]!) === slices[i];
    for (let first = 0; first < offsets.length; ) {
      let end = first;
      while (end < offsets.length && isCurrent(end)) end++;
      const length = (end - first) * sliceBytes;
      if (length > 0) {
        await this.#storage.write(copy, first * sliceBytes, length, offsets[first]!);
      }
      first = Math.max(end, first + 1);
    }
  }

  #becomeClean(sliceOffset: number, { buffer }: DirtySlice): void {
    this.#dirty.delete(sliceOffset);
    this.#clean.set(sliceOffset, buffer);
    this.#trim();
  }

  #forget(sliceOffset: number): void {
    this.#dirty.delete(sliceOffset);
    this.#clean.delete(sliceOffset);
    this.#leaving.delete(sliceOffset);
    this.#loads.delete(sliceOffset);
    this.#count();
  }

  /** Clean slices make room for dirty ones. */
  #trim(): void {
    const { limitBytes } = this.statistics;
    while (this.#clean.size > 0 && this.#bytes > limitBytes) this.#clean.pop();
    this.#count();
  }

  get #bytes(): number {
    return (this.#clean.size + this.#dirty.size) * this.sliceBytes;
  }

  #count(): void {
    this.statistics.bytes = this.#bytes;
  }

  #checkOffset(sliceOffset: number): void {
    if (Number.isSafeInteger(sliceOffset) && sliceOffset >= 0) {
      if (sliceOffset % this.sliceBytes === 0) return;
    }
    throw new Error(`tables: ${sliceOffset} is no offset of a slice`);
  }
}
