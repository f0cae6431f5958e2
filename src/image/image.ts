/**
 * A guest's disk, made of storages by a format. A format maps ranges; the generic code here reads,
 * writes and joins them, so that no format carries I/O code of its own.
 */

import { TmemError } from '../lib/errors.ts';
import type { Storage, StorageCapabilities } from '../storage/storage.ts';

/** A run of an image's bytes that a format keeps in one place. */
export type Mapping =
  | {
      readonly kind: 'data';
      /** Bytes from the offset that was asked for; at least 1. */
      readonly length: number;
      readonly storage: Storage;
      readonly storageOffset: number;
    }
  | {
      /** Both read as zeros; a zero is stored as such, a hole is not stored at all. */
      readonly kind: 'zero' | 'hole';
      readonly length: number;
    };

/** How an image is laid out on its storages. */
export interface ImageFormat {
  readonly formatName: string;
  readonly virtualSizeBytes: number;
  /**
   * Where the bytes at `offset` are; the run may be longer than `length`. A format answers with a
   * promise only when it must first read its own metadata.
   */
  map(offset: number, length: number): Mapping | Promise<Mapping>;
}

/** A run of an image's bytes of one allocation state. */
export interface ImageExtent {
  /** Bytes from the offset that was asked for; at least 1. */
  readonly length: number;
  /** Nothing is allocated here. */
  readonly isHole: boolean;
  /** The bytes are known to be zeros without reading them. */
  readonly isZero: boolean;
}

/** What was asked of an image's storages by one operation; plain fields, copied at scrape time. */
export interface OperationCounters {
  requests: number;
  /** Bytes asked for, of failed requests too. */
  bytes: number;
  failures: number;
}

/** What a `BlockImage` is made of. */
export interface BlockImageParts {
  readonly name: string;
  /** Names this content for ever: no two contents share one, so cached pages are filed under it. */
  readonly identity: string;
  /** Names the medium, whatever is on it: two images on one medium change each other. */
  readonly medium: string;
  readonly format: ImageFormat;
  /** Whether no other service can have the medium open meanwhile. Default true: there is no other. */
  readonly isLocked?: boolean;
  /** All storages the format maps to, the image's own from then on; at least one. */
  readonly storages: readonly Storage[];
}

type Operation = 'read' | 'write' | 'sync' | 'discard' | 'zeroes';

/**
 * An open image. Buffers belong to the caller and are not referenced after the promise settles.
 * Every failure rejects with a TmemError; a range outside the image is `invalid`. Overlapping
 * requests under way at once have no order.
 */
export class BlockImage {
  readonly name: string;
  readonly identity: string;
  readonly medium: string;
  readonly formatName: string;
  readonly virtualSizeBytes: number;
  readonly isReadOnly: boolean;
  readonly isLocked: boolean;
  /** Requests aligned to this, in memory too, avoid the page cache; see `Storage`. */
  readonly alignmentBytes: number;
  readonly counters: Readonly<Record<Operation, OperationCounters>> = {
    read: newCounters(),
    write: newCounters(),
    sync: newCounters(),
    discard: newCounters(),
    zeroes: newCounters(),
  };

  readonly #format: ImageFormat;
  readonly #storages: readonly Storage[];

  constructor(parts: BlockImageParts) {
    const { format, storages } = parts;
    this.name = parts.name;
    this.identity = parts.identity;
    this.medium = parts.medium;
    this.isLocked = parts.isLocked ?? true;
    this.formatName = format.formatName;
    this.virtualSizeBytes = format.virtualSizeBytes;
    this.isReadOnly = storages.some((storage) => storage.isReadOnly);
    this.alignmentBytes = Math.max(...storages.map((storage) => storage.alignmentBytes));
    this.#format = format;
    this.#storages = storages;
  }

  /** What all storages can do, as far as is known by now; see `StorageCapabilities`. */
  get supports(): StorageCapabilities {
    return {
      discard: this.#storages.every((storage) => storage.supports.discard),
      fastZeroes: this.#storages.every((storage) => storage.supports.fastZeroes),
      extents: this.#storages.every((storage) => storage.supports.extents),
    };
  }

  read(buffer: Buffer, bufferOffset: number, length: number, offset: number): Promise<void> {
    return this.#forEachRun('read', offset, length, (run, doneBytes, runBytes) => {
      const at = bufferOffset + doneBytes;
      if (run.kind === 'data') {
        return run.storage.read(buffer, at, runBytes, run.storageOffset);
      }
      buffer.fill(0, at, at + runBytes);
    });
  }

  write(buffer: Buffer, bufferOffset: number, length: number, offset: number): Promise<void> {
    return this.#forEachRun('write', offset, length, (run, doneBytes, runBytes) => {
      if (run.kind !== 'data') throw this.#unallocated(offset + doneBytes);
      return run.storage.write(buffer, bufferOffset + doneBytes, runBytes, run.storageOffset);
    });
  }

  /** Everything written before the call is on stable storage when this resolves. */
  async sync(): Promise<void> {
    const counters = this.counters.sync;
    counters.requests++;
    try {
      for (const storage of this.#storages) await storage.sync();
    } catch (cause) {
      counters.failures++;
      throw cause;
    }
  }

  /** A hint: the bytes are no longer needed. Their content is undefined afterwards. */
  discard(offset: number, length: number): Promise<void> {
    return this.#forEachRun('discard', offset, length, (run, _doneBytes, runBytes) => {
      if (run.kind === 'data') return run.storage.discard(run.storageOffset, runBytes);
    });
  }

  /** As `Storage.writeZeroes`. */
  writeZeroes(
    offset: number,
    length: number,
    mayDiscard: boolean,
    mustBeFast = false,
  ): Promise<void> {
    return this.#forEachRun('zeroes', offset, length, (run, doneBytes, runBytes) => {
      if (run.kind === 'data') {
        return run.storage.writeZeroes(run.storageOffset, runBytes, mayDiscard, mustBeFast);
      }
      if (run.kind === 'hole' && !mayDiscard) throw this.#unallocated(offset + doneBytes);
    });
  }

  /** The allocation state at `offset`, for at most `length` bytes, of which there is at least 1. */
  async extent(offset: number, length: number): Promise<ImageExtent> {
    this.#checkRange('map', offset, length);
    const run = await this.#format.map(offset, length);
    const runBytes = Math.min(run.length, length);
    if (run.kind !== 'data') {
      return { length: runBytes, isHole: run.kind === 'hole', isZero: true };
    }
    const extent = await run.storage.extent(run.storageOffset, runBytes);
    return { length: extent.length, isHole: extent.isHole, isZero: extent.isHole };
  }

  /** Closes all storages, after the requests under way. */
  async close(): Promise<void> {
    for (const storage of this.#storages) await storage.close();
  }

  /** Visits the runs of a range in order, one storage request at a time, and counts the whole. */
  async #forEachRun(
    operation: Exclude<Operation, 'sync'>,
    offset: number,
    length: number,
    visit: (run: Mapping, doneBytes: number, runBytes: number) => Promise<void> | undefined | void,
  ): Promise<void> {
    if (operation !== 'read') this.#checkIsWritable();
    this.#checkRange(operation, offset, length);
    const counters = this.counters[operation];
    counters.requests++;
    counters.bytes += length;
    try {
      let doneBytes = 0;
      while (doneBytes < length) {
        const mapped = this.#format.map(offset + doneBytes, length - doneBytes);
        const run = mapped instanceof Promise ? await mapped : mapped;
        if (run.length < 1) throw new Error(`${this.formatName} mapped an empty run`);
        const runBytes = Math.min(run.length, length - doneBytes);
        const pending = visit(run, doneBytes, runBytes);
        if (pending !== undefined) await pending;
        doneBytes += runBytes;
      }
    } catch (cause) {
      counters.failures++;
      throw cause;
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

  #checkIsWritable(): void {
    if (!this.isReadOnly) return;
    const advice = 'open it for writing to change it';
    throw new TmemError('read-only', `"${this.name}" is open for reading only; ${advice}`);
  }

  #unallocated(offset: number): TmemError {
    return new TmemError(
      'unsupported',
      `cannot write at offset ${offset} of "${this.name}": ${this.formatName} images are written ` +
        'only where they have data; convert it to raw',
    );
  }
}

function newCounters(): OperationCounters {
  return { requests: 0, bytes: 0, failures: 0 };
}
