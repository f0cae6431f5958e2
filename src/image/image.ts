/**
 * A guest's disk, made of storages by a format, and of what shows through from the image below it.
 * A format maps ranges; the generic code reads, writes and joins them, so that no format carries
 * I/O code of its own.
 */

import { TmemError } from '../lib/errors.ts';
import { roundUp } from '../lib/round-up.ts';
import type { NamedFile } from '../storage/file-name.ts';
import type { StorageCapabilities } from '../storage/storage.ts';
import { Below, type ChainedImage, type ImageExtent, type ImageOwner } from './below.ts';
import { CopyUp } from './chain/copy-up.ts';
import { ImageState } from './chain/image-state.ts';
import { isEncipheredAt } from './data/enciphered.ts';
import { imageMemory, TABLE_BYTES_DEFAULT } from './data/image-memory.ts';
import { ImageReads } from './data/image-reads.ts';
import { ImageWrites } from './data/image-writes.ts';
import { countFailure, newCounters, type OperationCounters } from './data/operation-counters.ts';
import {
  type CheckReport,
  type FormatName,
  type ImageFormat,
  isWritableFormat,
  type OnlineCheckOptions,
  type WritableFormat,
} from './format.ts';
import type { TableStatistics } from './tables/table-cache.ts';

/** What a `BlockImage` is made of. */
export interface BlockImageParts {
  readonly name: string;
  /** Names this content for ever: no two contents share one, so cached pages are filed under it. */
  readonly identity: string;
  /** Names the medium, whatever is on it: two images on one medium change each other. */
  readonly medium: string;
  readonly format: ImageFormat | WritableFormat;
  /** What shows through the holes, the image's own from then on. It is never written. */
  readonly backing?: BlockImage | undefined;
  /** Whether no other service can have the medium open meanwhile. Default true: there is no other. */
  readonly isLocked?: boolean;
  /** What the storages of the format are, where they are files; without those below. */
  readonly files?: readonly NamedFile[];
  /** As the format was told; what else may be in memory follows from it. Default 16 MiB. */
  readonly tableBytesMax?: number | undefined;
}

type Operation = 'read' | 'write' | 'sync' | 'discard' | 'zeroes';

/**
 * An open image. Buffers belong to the caller and are not referenced after the promise settles.
 * Every failure rejects with a TmemError; a range outside the image is `invalid`. Overlapping
 * requests under way at once have no order.
 */
export class BlockImage implements ChainedImage {
  readonly name: string;
  readonly identity: string;
  readonly medium: string;
  readonly formatName: FormatName;
  /** A format that cannot be written, or a storage that may not be. */
  readonly isReadOnly: boolean;
  readonly isLocked: boolean;
  readonly files: readonly NamedFile[];
  /** Requests aligned to this, in memory too, avoid the page cache; see `Storage`. */
  readonly alignmentBytes: number;
  readonly counters: Readonly<Record<Operation, OperationCounters>> = {
    read: newCounters(),
    write: newCounters(),
    sync: newCounters(),
    discard: newCounters(),
    zeroes: newCounters(),
  };

  #backing: BlockImage | undefined;
  readonly #below: Below;
  readonly #format: ImageFormat;
  readonly #tableBytesMax: number;
  readonly #mayCopyUp: boolean;
  readonly #writable: WritableFormat | undefined;
  readonly #reads: ImageReads;
  readonly #writes: ImageWrites | undefined;
  readonly #state: ImageState;
  #finished: Promise<void> | undefined;

  constructor(parts: BlockImageParts) {
    const { format, backing } = parts;
    const { storages } = format;
    this.name = parts.name;
    this.identity = parts.identity;
    this.medium = parts.medium;
    this.isLocked = parts.isLocked ?? true;
    this.files = parts.files ?? [];
    this.formatName = format.formatName;
    this.alignmentBytes = Math.max(...storages.map((storage) => storage.alignmentBytes));
    this.#backing = backing;
    this.#below = new Below(backing);
    this.#format = format;
    const mayWrite = isWritableFormat(format) && !storages.some((storage) => storage.isReadOnly);
    this.#tableBytesMax = parts.tableBytesMax ?? TABLE_BYTES_DEFAULT;
    this.#mayCopyUp = mayWrite && backing !== undefined;
    const memory = imageMemory(this.#tableBytesMax, this.#mayCopyUp);
    this.#reads = new ImageReads(format, this.#below, memory);
    this.#state = new ImageState(format, this.#below, this.#reads);
    this.#writable = mayWrite ? format : undefined;
    this.#writes = mayWrite ? new ImageWrites(format, this.#reads) : undefined;
    this.isReadOnly = !mayWrite;
  }

  get virtualSizeBytes(): number {
    return this.#format.virtualSizeBytes;
  }

  /** The image below, which shows through the holes of this one; see `dropBacking`. */
  get backing(): BlockImage | undefined {
    return this.#backing;
  }

  /** What can be zeroed and discarded without writing: 1 for a raw image, which has no tables. */
  get unitBytes(): number {
    return this.#writable?.unitBytes ?? 1;
  }

  /** Whether one file alone makes its content: while that is unchanged, so is the image. */
  get isSelfContained(): boolean {
    return this.#backing === undefined && this.#format.storages.length === 1;
  }

  /** How whole units can be stored compressed; undefined where they cannot. */
  get compression(): WritableFormat['compression'] {
    return this.#writable?.writeCompressed === undefined ? undefined : this.#writable.compression;
  }

  /** Takes only whole units, compressed, in the order of the disk; see `WritableFormat`. */
  get isAppendOnly(): boolean {
    return this.#writable?.isAppendOnly === true;
  }

  /** Of the format's cache of tables, if it has one. */
  get tables(): Readonly<TableStatistics> | undefined {
    return this.#format.tables;
  }

  /**
   * The most that its tables, and pieces of data on their way, take in memory; without the backing.
   * With a `growth` above 1 no less than that would be, were tables allowed so many times as much.
   */
  memoryBytesWith(growth: number): number {
    if (this.formatName === 'raw') return 0; // nothing of it is put together
    const { dataBytes } = imageMemory(this.#tableBytesMax * growth, this.#mayCopyUp);
    const { pinnedBytes = 0 } = this.#format; // of which counts of qcow2 grow, an eighth as fast
    const countBytes = (this.#tableBytesMax * (growth - 1)) / 8;
    return (this.tables?.limitBytes ?? 0) * growth + dataBytes + pinnedBytes + countBytes;
  }

  /**
   * What is known by now; see `StorageCapabilities`. A format with tables zeroes and discards in
   * them, whatever its storages can do.
   */
  get supports(): StorageCapabilities {
    const { storages } = this.#format;
    const hasTables = this.unitBytes > 1;
    return {
      discard: hasTables || storages.every((storage) => storage.supports.discard),
      fastZeroes: hasTables || storages.every((storage) => storage.supports.fastZeroes),
      extents: this.formatName !== 'raw' || storages.every((storage) => storage.supports.extents),
    };
  }

  async read(buffer: Buffer, bufferOffset: number, length: number, offset: number): Promise<void> {
    this.#checkRange('read', offset, length);
    const counters = this.counters.read;
    const epoch = this.#enter(counters, length);
    try {
      await this.#reads.read(buffer, bufferOffset, length, offset);
    } catch (cause) {
      countFailure(counters, cause);
      throw cause;
    } finally {
      this.#format.epochs?.leave(epoch);
    }
  }

  async write(buffer: Buffer, bufferOffset: number, length: number, offset: number): Promise<void> {
    const writes = this.#checkIsWritable();
    this.#checkRange('write', offset, length);
    const counters = this.counters.write;
    const epoch = this.#enter(counters, length);
    try {
      await writes.write(buffer, bufferOffset, length, offset);
    } catch (cause) {
      countFailure(counters, cause);
      throw cause;
    } finally {
      this.#format.epochs?.leave(epoch);
    }
  }

  /** Everything written before the call is on stable storage when this resolves. */
  async sync(): Promise<void> {
    const counters = this.counters.sync;
    counters.requests++;
    try {
      if (this.#writable !== undefined) await this.#writable.sync();
      else for (const storage of this.#format.storages) await storage.sync();
    } catch (cause) {
      countFailure(counters, cause);
      throw cause;
    }
  }

  /** A hint: the bytes are no longer needed. Their content is undefined afterwards. */
  async discard(offset: number, length: number): Promise<void> {
    const writes = this.#checkIsWritable();
    this.#checkRange('discard', offset, length);
    await this.#count('discard', length, () => writes.discard(offset, length));
  }

  /** As `Storage.writeZeroes`. */
  async writeZeroes(
    offset: number,
    length: number,
    mayDiscard: boolean,
    mustBeFast = false,
  ): Promise<void> {
    const writes = this.#checkIsWritable();
    this.#checkRange('zero', offset, length);
    await this.#count('zeroes', length, () =>
      writes.writeZeroes(offset, length, mayDiscard, mustBeFast),
    );
  }

  /**
   * Stores a whole unit compressed, or plain if that is less: `unit` has `unitBytes`, zeros behind
   * the end of the disk. Only where `compression` says how.
   */
  async writeCompressed(offset: number, unit: Buffer): Promise<void> {
    const writes = this.#checkIsWritable();
    const length = Math.min(unit.length, this.virtualSizeBytes - offset);
    this.#checkRange('compress', offset, length);
    await this.#count('write', length, () => writes.writeCompressed(offset, unit));
  }

  /** The allocation state at `offset`, for at most `length` bytes, of which there is at least 1. */
  async extent(offset: number, length: number): Promise<ImageExtent> {
    this.#checkRange('map', offset, length);
    const { epochs } = this.#format;
    const epoch = epochs?.enter() ?? 0;
    try {
      return await this.#state.extent(offset, length);
    } finally {
      epochs?.leave(epoch);
    }
  }

  /**
   * Which image of the chain defines the bytes at `offset`: 0 for this one, 1 for its backing image,
   * and so on; `length` is that of a run with one answer. What nobody defines is of the deepest image
   * that reaches there. The range is inside the image: the caller has checked.
   */
  ownerOf(offset: number, length: number): ImageOwner | Promise<ImageOwner> {
    return this.#state.ownerOf(offset, length);
  }

  /**
   * Changes the size of the disk, while nothing else is asked of it. What is new reads as zeros,
   * though the backing image may be longer than this one was. The format notes a larger size with the
   * sync, when the zeros are durable; when they cannot be written the disk has its old size again.
   */
  async resize(sizeBytes: number): Promise<void> {
    const writes = this.#checkIsWritable();
    const oldBytes = this.virtualSizeBytes;
    await writes.resize(sizeBytes);
    // The rest of the last unit may hold anything, and behind it the backing image shows.
    const unitEnd = roundUp(oldBytes, this.unitBytes);
    const hidden = Math.min(sizeBytes, Math.max(unitEnd, this.backing?.virtualSizeBytes ?? 0));
    const end = (await isEncipheredAt(this.#format, oldBytes)) ? sizeBytes : hidden;
    try {
      if (end > oldBytes) await this.writeZeroes(oldBytes, end - oldBytes, true);
    } catch (cause) {
      await writes.resize(oldBytes).catch(() => undefined);
      throw cause;
    }
    await this.sync();
  }

  /**
   * Copies into this image what of the range shows through from the image below and is not zeros, as
   * a write would, but never over what is written meanwhile. Answers how many bytes that were.
   */
  async copyUp(offset: number, length: number): Promise<number> {
    const writes = this.#checkIsWritable();
    this.#checkRange('copy', offset, length);
    if (this.#writable === undefined) return 0;
    const { epochs } = this.#format;
    const epoch = epochs?.enter() ?? 0;
    try {
      const copy = new CopyUp(this.#writable, this.#below, this.#reads, writes);
      return await copy.run(offset, length);
    } finally {
      epochs?.leave(epoch);
    }
  }

  /** Throws `unsupported` where `dropBacking` would, whatever has been copied. */
  checkMayDropBacking(): void {
    this.#checkIsWritable().checkMayDropBacking();
  }

  /** When all that showed through is copied: closes the image below; holes read as zeros now. */
  async dropBacking(): Promise<void> {
    const writes = this.#checkIsWritable();
    await writes.dropBacking();
    const backing = this.#backing;
    this.#backing = undefined;
    await this.#below.letGo();
    await backing?.close();
  }

  /** As `ImageFormat.checkOnline`; rejects with `unsupported` where a format can not. */
  async checkOnline(options: OnlineCheckOptions = {}): Promise<CheckReport> {
    const { checkOnline, formatName } = this.#format;
    if (checkOnline !== undefined) return checkOnline.call(this.#format, options);
    throw new TmemError(
      'unsupported',
      `"${this.name}" is of the format ${formatName}, which cannot be checked while it is used; ` +
        'stop the service and use tmem image check',
    );
  }

  /**
   * Has the format write what it writes at its end; nothing but `close` is asked of the image
   * afterwards. Its files are still locked.
   */
  finish(): Promise<void> {
    this.#finished ??= this.#format.close?.() ?? Promise.resolve();
    return this.#finished;
  }

  /** Closes the format, its storages and the images below, after the requests under way. */
  async close(): Promise<void> {
    const failures: unknown[] = [];
    const attempt = async (close: Promise<void> | undefined) => {
      try {
        await close;
      } catch (cause) {
        failures.push(cause);
      }
    };
    await attempt(this.finish());
    for (const storage of this.#format.storages) await attempt(storage.close());
    await attempt(this.backing?.close());
    if (failures.length > 0) throw failures[0];
  }

  #enter(counters: OperationCounters, length: number): number {
    counters.requests++;
    counters.bytes += length;
    return this.#format.epochs?.enter() ?? 0;
  }

  async #count(
    operation: Exclude<Operation, 'sync'>,
    length: number,
    work: () => Promise<void>,
  ): Promise<void> {
    const counters = this.counters[operation];
    const epoch = this.#enter(counters, length);
    try {
      await work();
    } catch (cause) {
      countFailure(counters, cause);
      throw cause;
    } finally {
      this.#format.epochs?.leave(epoch);
    }
  }

  #checkRange(verb: string, offset: number, length: number): void {
    const isRange = Number.isSafeInteger(offset) && Number.isSafeInteger(length);
    if (isRange && offset >= 0 && length >= 0 && offset + length <= this.virtualSizeBytes) return;
    throw new TmemError(
      'invalid',
      `cannot ${verb} ${length} bytes at offset ${offset} of "${this.name}": ` +
        `stay inside its ${this.virtualSizeBytes} bytes`,
      { context: { image: this.name, offset, length } },
    );
  }

  #checkIsWritable(): ImageWrites {
    if (this.#writes !== undefined) return this.#writes;
    if (isWritableFormat(this.#format)) {
      const advice = 'open it for writing to change it';
      throw new TmemError('read-only', `"${this.name}" is open for reading only; ${advice}`);
    }
    throw new TmemError(
      'read-only',
      `"${this.name}" cannot be changed as it is open: convert it to another image to write to it`,
    );
  }
}
