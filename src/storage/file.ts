/**
 * A regular file or a block device as a storage. Aligned requests go around the page cache, since
 * this service is the cache and every page would be held twice; all others go through it. On one
 * file Linux keeps the two coherent, but for writes of both kinds at the same time: see WriteTurns.
 * On a block device it does so only for writes that block, so those go by threads.
 */

import fs from 'node:fs';
import { promisify } from 'node:util';
import { alignedBuffer, isAlignedMemory, MEMORY_ALIGNMENT_BYTES } from '../lib/aligned-buffer.ts';
import { kindOfSystemError, messageOf, systemErrorCode, TmemError } from '../lib/errors.ts';
import { JoinedRuns } from '../lib/joined-runs.ts';
import { FileAllocation } from './allocation.ts';
import { closeDescriptors } from './descriptors.ts';
import { type FileNameState, type NamedFile, nameStateOf } from './file-name.ts';
import { THREADS } from './io-places.ts';
import { IoShare } from './io-share.ts';
import { type FileStorageOptions, type OpenFile, openDescriptors } from './open-file.ts';
import type { ResizableStorage, StorageCapabilities, StorageExtent } from './storage.ts';
import { END_OF_FILE, transferFully } from './transfer.ts';
import { WriteTurns } from './write-turns.ts';

const truncateDescriptor = promisify(fs.ftruncate);

/** Zeros are written in pieces of this many bytes, all from the one buffer. */
const ZEROES_BYTES = 256 * 1024;
const zeroes = alignedBuffer(ZEROES_BYTES);

/** Longer requests through the page cache are copied on other threads, not on the event loop's. */
const COPIED_BYTES_MAX = 64 * 1024;

/** Opens the file or block device at `path`; a path that cannot be an image is a TmemError. */
export async function openFileStorage(
  path: string,
  options: FileStorageOptions,
): Promise<FileStorage> {
  return new FileStorage(await openDescriptors(path, options));
}

/**
 * An open file. Requests under way when it is closed are finished first, but for zeros that have to be
 * written: those end where they are, and fail. So do later ones.
 */
export class FileStorage implements ResizableStorage, NamedFile {
  readonly name: string;
  readonly isReadOnly: boolean;
  readonly alignmentBytes: number;
  readonly supports: StorageCapabilities;
  /** Names this content: the file, and when it was last written before it was opened. */
  readonly identity: string;
  /** Names the file or device, whatever is in it. */
  readonly medium: string;
  /** Other processes are kept from it; false without koffi, or on a file system without locks. */
  readonly isLocked: boolean;
  /** This process had the file open already, and one of the two is for writing. */
  readonly isOpenHere: boolean;

  #sizeBytes: number;
  readonly #file: OpenFile;
  readonly #allocation: FileAllocation;
  readonly #threads: IoShare;
  readonly #io: IoShare;
  readonly #writeTurns = new WriteTurns();
  readonly #syncs = new JoinedRuns(() => this.#syncNow());
  #inFlightCount = 0;
  #closing: Promise<void> | undefined;
  #onDrained: (() => void) | undefined;
  #failedSync: TmemError | undefined;

  constructor(file: OpenFile) {
    this.name = file.path;
    this.#sizeBytes = file.sizeBytes;
    this.isReadOnly = file.isReadOnly;
    this.identity = file.identity;
    this.medium = file.medium;
    this.isLocked = file.isLocked;
    this.isOpenHere = file.isOpenHere;
    this.alignmentBytes = file.directFd === undefined ? 1 : MEMORY_ALIGNMENT_BYTES;
    this.#file = file;
    const { io, libc, allocationFd, isReadOnly } = file;
    this.#io = new IoShare(io);
    this.#threads = io.places === THREADS ? this.#io : new IoShare();
    this.#allocation = new FileAllocation(libc, allocationFd, isReadOnly, this.#threads);
    this.supports = this.#allocation;
  }

  /** Of a container, where the file ends now. */
  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  read(buffer: Buffer, bufferOffset: number, length: number, offset: number): Promise<void> {
    if (this.#closing !== undefined) return Promise.reject(this.#closed());
    return this.#transfer('read', buffer, bufferOffset, length, offset);
  }

  write(buffer: Buffer, bufferOffset: number, length: number, offset: number): Promise<void> {
    if (this.isReadOnly) return Promise.reject(this.#readOnly());
    if (this.#closing !== undefined) return Promise.reject(this.#closed());
    return this.#transfer('write', buffer, bufferOffset, length, offset);
  }

  /**
   * Linux reports lost writes to one fdatasync and forgets them, so after a failure nothing that was
   * written can be said to be stable any more: every later sync fails as well, and `isFinal` in the
   * context of the error says so. Nor do two overlap, of which the other would be told that all is well.
   */
  async sync(): Promise<void> {
    if (this.isReadOnly) return;
    this.#begin();
    try {
      await this.#syncs.run();
    } finally {
      this.#end();
    }
  }

  async #syncNow(): Promise<void> {
    if (this.#failedSync !== undefined) throw this.#failedSync;
    try {
      await this.#threads.run(() => promisify(fs.fdatasync)(this.#file.bufferedFd));
    } catch (cause) {
      const { kind, message, context } = this.#failure('sync', 0, this.sizeBytes, cause);
      const isFinal = true;
      this.#failedSync = new TmemError(kind, message, { context: { ...context, isFinal }, cause });
      throw this.#failedSync;
    }
  }

  async nameState(): Promise<FileNameState> {
    this.#begin();
    try {
      return await this.#threads.run(() => nameStateOf(this.name, this.#file.bufferedFd));
    } finally {
      this.#end();
    }
  }

  async discard(offset: number, length: number): Promise<void> {
    if (this.isReadOnly) throw this.#readOnly();
    const bytes = this.#file.isContainer ? Math.min(length, this.#sizeBytes - offset) : length;
    if (bytes <= 0 || !this.supports.discard) return;
    this.#begin();
    try {
      await this.#allocation.punch(offset, bytes);
    } catch (cause) {
      throw this.#failure('discard', offset, length, cause);
    } finally {
      this.#end();
    }
  }

  async writeZeroes(
    offset: number,
    length: number,
    mayDiscard: boolean,
    mustBeFast = false,
  ): Promise<void> {
    if (this.isReadOnly) throw this.#readOnly();
    if (length === 0) return;
    this.#begin();
    try {
      await this.#reachFor(offset + length);
      const isDone =
        (mayDiscard && (await this.#allocation.punch(offset, length))) ||
        (await this.#allocation.zero(offset, length));
      if (isDone) return await this.#reach(offset + length);
      if (mustBeFast) throw this.#notFast();
      await this.#writeZeroPieces(offset, offset + length);
    } catch (cause) {
      throw this.#failure('zero', offset, length, cause);
    } finally {
      this.#end();
    }
  }

  async extent(offset: number, length: number): Promise<StorageExtent> {
    this.#begin();
    try {
      const storedBytes = this.#file.isContainer ? this.#sizeBytes - offset : length;
      if (storedBytes <= 0) return { length, isHole: true };
      return await this.#allocation.extent(offset, Math.min(length, storedBytes));
    } catch (cause) {
      throw this.#failure('map', offset, length, cause);
    } finally {
      this.#end();
    }
  }

  /** No write behind the new or the old end may be under way. */
  async resize(sizeBytes: number): Promise<void> {
    if (this.isReadOnly) throw this.#readOnly();
    this.#begin();
    try {
      if (!this.#file.isRegular) throw this.#fixed();
      await truncateDescriptor(this.#file.bufferedFd, sizeBytes);
      this.#sizeBytes = sizeBytes;
      this.#file.growth?.resized(sizeBytes);
    } catch (cause) {
      throw this.#failure('resize', 0, sizeBytes, cause);
    } finally {
      this.#end();
    }
  }

  async finish(): Promise<void> {
    await this.#file.growth?.cut(this.#sizeBytes);
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    // A descriptor's number is reused at once: a request still queued would hit another file.
    if (this.#inFlightCount > 0) {
      await new Promise<void>((resolve) => {
        this.#onDrained = resolve;
      });
    }
    const { bufferedFd, directFd, allocationFd } = this.#file;
    await this.finish();
    try {
      // The lock is that of the last one: nobody comes in before all are closed.
      await closeDescriptors([allocationFd, directFd, bufferedFd]);
    } catch (cause) {
      // What was only read has lost nothing.
      if (!this.isReadOnly) throw this.#closeFailure(cause);
    }
  }

  #transfer(
    verb: 'read' | 'write',
    buffer: Buffer,
    bufferOffset: number,
    length: number,
    offset: number,
  ): Promise<void> {
    // Node would take a position of -1 for the descriptor's own, and throw at others.
    const isPosition = Number.isSafeInteger(offset) && offset >= 0;
    if (!isPosition || bufferOffset < 0 || bufferOffset + length > buffer.length) {
      return Promise.reject(new RangeError(`${verb} of ${length} bytes at ${offset} does not fit`));
    }
    if (length === 0) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const { bufferedFd, directFd, isRegular, growth } = this.#file;
      const isDirect =
        directFd !== undefined &&
        offset % MEMORY_ALIGNMENT_BYTES === 0 &&
        length % MEMORY_ALIGNMENT_BYTES === 0 &&
        isAlignedMemory(buffer, bufferOffset);
      const fd = isDirect ? directFd : bufferedFd;
      const mayUseRing = isDirect ? verb === 'read' || isRegular : length <= COPIED_BYTES_MAX;
      const call = (mayUseRing ? this.#io : this.#threads)[verb];
      const rest = this.#threads[verb];
      this.#inFlightCount++;
      const takesTurns = verb === 'write' && directFd !== undefined;
      const ended = (failure: Error | null): void => {
        if (takesTurns) this.#writeTurns.end();
        if (failure !== null) {
          const reason = this.#failure(verb, offset, length, failure);
          if (verb === 'write') this.#noteRealEnd(offset + length, () => reject(reason));
          else {
            this.#end();
            reject(reason);
          }
          return;
        }
        this.#end();
        if (verb === 'write') this.#noteEnd(offset + length);
        resolve();
      };
      // What is left of a write around the page cache goes through it.
      const onRest = (goOn: () => void): void => {
        if (takesTurns) {
          this.#writeTurns.end();
          this.#writeTurns.enter(true, goOn);
        } else goOn();
      };
      const begin = (): void =>
        transferFully(
          call,
          fd,
          rest,
          bufferedFd,
          buffer,
          bufferOffset,
          length,
          offset,
          ended,
          onRest,
        );
      const takeTurn = () => this.#writeTurns.enter(!isDirect, begin);
      if (!takesTurns) begin();
      else if (growth !== undefined) growth.reach(offset + length, takeTurn);
      else takeTurn();
    });
  }

  /** A write that failed may have written some of it, and behind the end nothing is taken for zeros. */
  #noteRealEnd(end: number, done: () => void): void {
    fs.fstat(this.#file.bufferedFd, (error, stats) => {
      this.#end();
      if (error === null && stats.isFile()) this.#noteEnd(Math.min(stats.size, end));
      done();
    });
  }

  /** A container ends where the last write did. */
  #noteEnd(end: number): void {
    if (this.#file.isContainer && end > this.#sizeBytes) this.#sizeBytes = end;
  }

  /**
   * Lengthens a container to `end` at least. By a byte, not by truncating: a write that ends farther
   * on may be under way. The byte is a zero already, or behind the end.
   */
  async #reach(end: number): Promise<void> {
    if (!this.#file.isContainer || end <= this.#sizeBytes) return;
    if (this.#file.growth?.covers(end)) return this.#noteEnd(end);
    await this.#transfer('write', zeroes, 0, 1, end - 1);
  }

  /** Resolves when the file itself goes as far as `end`, where it grows ahead of what is written. */
  async #reachFor(end: number): Promise<void> {
    const { growth } = this.#file;
    if (growth !== undefined) await new Promise<void>((begin) => growth.reach(end, begin));
  }

  /** Pieces end at multiples of their size, so that all but the first and last can be direct. */
  async #writeZeroPieces(start: number, end: number): Promise<void> {
    let offset = start;
    while (offset < end) {
      if (this.#closing !== undefined) throw this.#closed();
      const length = Math.min(end - offset, ZEROES_BYTES - (offset % ZEROES_BYTES));
      await this.#transfer('write', zeroes, 0, length, offset);
      offset += length;
    }
  }

  #begin(): void {
    if (this.#closing !== undefined) throw this.#closed();
    this.#inFlightCount++;
  }

  #end(): void {
    this.#inFlightCount--;
    if (this.#inFlightCount === 0) this.#onDrained?.();
  }

  #closed(): TmemError {
    return new TmemError('shutdown', `"${this.name}" is closed; open it again to use it`);
  }

  #closeFailure(cause: unknown): TmemError {
    const advice = 'check the disk that it is on, and what was written last';
    return new TmemError(
      kindOfSystemError(cause),
      `cannot close "${this.name}": ${messageOf(cause)}; ${advice}`,
      { context: { storage: this.name, code: systemErrorCode(cause) ?? 'unknown' }, cause },
    );
  }

  #notFast(): TmemError {
    const advice = 'write zeros instead';
    return new TmemError('unsupported', `"${this.name}" has no fast zeroes here; ${advice}`);
  }

  #fixed(): TmemError {
    const advice = 'resize it with the tools of its kind';
    return new TmemError('unsupported', `"${this.name}" is a block device; ${advice}`);
  }

  #readOnly(): TmemError {
    const advice = 'open it for writing to change it';
    return new TmemError('read-only', `"${this.name}" is open for reading only; ${advice}`);
  }

  #failure(verb: string, offset: number, length: number, cause: unknown): TmemError {
    if (cause instanceof TmemError) return cause;
    const code = systemErrorCode(cause) ?? 'unknown';
    const kind = kindOfSystemError(cause);
    const reason = messageOf(cause);
    let advice = 'check the disk that it is on';
    if (kind === 'no-space') advice = 'free some space on its file system';
    if (kind === 'read-only')
      advice = 'it takes no writes any more, the log of the system says why';
    if (code === 'EDQUOT') advice = 'raise the quota, or free some space that it counts';
    if (code === 'EFBIG') advice = 'raise the limit of file sizes, or use another file system';
    if (code === END_OF_FILE) advice = 'it was truncated while in use, restore its size';
    return new TmemError(
      kind,
      `cannot ${verb} ${length} bytes at offset ${offset} of "${this.name}": ${reason}; ${advice}`,
      { context: { storage: this.name, verb, offset, length, code }, cause },
    );
  }
}
