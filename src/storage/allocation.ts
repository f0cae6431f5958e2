/**
 * What a file system knows about a file's blocks: giving them back, zeroing them, telling holes
 * from data. File systems differ in what they can do and say so only when asked, so each call is
 * tried until it is first refused for good.
 */

import { systemErrorCode } from '../lib/errors.ts';
import type { IoShare } from './io-share.ts';
import { FALLOCATE, type Libc, SEEK } from './libc.ts';
import type { StorageCapabilities, StorageExtent } from './storage.ts';
import { endOfFile } from './transfer.ts';

/**
 * Refusals that will be repeated for every range of this file. A sandbox may forbid the calls alone
 * (seccomp(2)); of a file that may not be written at all the writes that follow tell.
 */
const REFUSED_FOR_GOOD = new Set([
  ...['EOPNOTSUPP', 'ENOTSUP', 'ENOSYS', 'ENODEV', 'ESPIPE'],
  ...['EPERM', 'EACCES'],
]);

/** Refusals of this range or this moment: a block device takes whole sectors, or is mounted. */
const REFUSED_THIS_TIME = new Set(['EINVAL', 'EBUSY', 'ENOTTY']);

/** The block allocation of one open file; the capabilities become false once found missing. */
export class FileAllocation implements StorageCapabilities {
  readonly #libc: Libc | undefined;
  readonly #fd: number;
  readonly #threads: IoShare;
  readonly #refusedModes = new Set<number>();
  #seeksHoles: boolean;

  /** The descriptor belongs to the caller and is used for nothing else: seeking moves its offset. */
  constructor(libc: Libc | undefined, fd: number, isReadOnly: boolean, threads: IoShare) {
    this.#libc = libc;
    this.#fd = fd;
    this.#threads = threads;
    this.#seeksHoles = libc !== undefined;
    if (libc === undefined || isReadOnly) {
      for (const mode of Object.values(FALLOCATE)) this.#refusedModes.add(mode);
    }
  }

  get discard(): boolean {
    return !this.#refusedModes.has(FALLOCATE.punchHole);
  }

  get fastZeroes(): boolean {
    const allocates = !this.#refusedModes.has(FALLOCATE.keepSize);
    return !this.#refusedModes.has(FALLOCATE.zeroRange) || (this.discard && allocates);
  }

  get extents(): boolean {
    return this.#seeksHoles;
  }

  /** Makes a hole of the range, which then reads as zeros; false if the file system does not. */
  punch(offset: number, length: number): Promise<boolean> {
    return this.#fallocate(FALLOCATE.punchHole, offset, length);
  }

  /** Zeroes the range and keeps its blocks; false if the file system does not do both. */
  async zero(offset: number, length: number): Promise<boolean> {
    if (await this.#fallocate(FALLOCATE.zeroRange, offset, length)) return true;
    // tmpfs and others lack the one call, but have the two that it is made of.
    if (this.#refusedModes.has(FALLOCATE.keepSize)) return false;
    return (
      (await this.#fallocate(FALLOCATE.punchHole, offset, length)) &&
      (await this.#fallocate(FALLOCATE.keepSize, offset, length))
    );
  }

  /** The run at `offset`, at most `length` bytes; all data where the file system cannot tell. */
  async extent(offset: number, length: number): Promise<StorageExtent> {
    const data = await this.#seek(offset, SEEK.data);
    if (data === 'unknown') return { length, isHole: false };
    if (data === 'none') {
      // No data up to the end of the file, wherever that is now; past it nothing is known to be 0.
      const end = await this.#seek(0, SEEK.end);
      if (typeof end !== 'number') return { length, isHole: false };
      if (end <= offset) throw endOfFile(offset);
      return { length: Math.min(length, end - offset), isHole: true };
    }
    if (data > offset) return { length: Math.min(length, data - offset), isHole: true };
    const hole = await this.#seek(offset, SEEK.hole);
    // A hole that appears between the two calls may be called data: that is never wrong.
    const isLater = typeof hole === 'number' && hole > offset;
    return { length: isLater ? Math.min(length, hole - offset) : length, isHole: false };
  }

  async #fallocate(mode: number, offset: number, length: number): Promise<boolean> {
    const libc = this.#libc;
    if (libc === undefined || this.#refusedModes.has(mode)) return false;
    try {
      await this.#threads.run(() => libc.fallocate(this.#fd, mode, offset, length));
      return true;
    } catch (cause) {
      const code = systemErrorCode(cause) ?? '';
      if (REFUSED_FOR_GOOD.has(code)) this.#refusedModes.add(mode);
      else if (!REFUSED_THIS_TIME.has(code)) throw cause;
      return false;
    }
  }

  async #seek(offset: number, origin: number): Promise<number | 'none' | 'unknown'> {
    const libc = this.#libc;
    if (libc === undefined || !this.#seeksHoles) return 'unknown';
    try {
      return await this.#threads.run(() => libc.lseek(this.#fd, offset, origin));
    } catch (cause) {
      const code = systemErrorCode(cause) ?? '';
      if (code === 'ENXIO') return 'none';
      if (code !== 'EINVAL' && !REFUSED_FOR_GOOD.has(code)) throw cause;
      this.#seeksHoles = false;
      return 'unknown';
    }
  }
}
