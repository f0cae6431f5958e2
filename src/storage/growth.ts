/**
 * Lets a file that grows end farther on than what was written. Linux gives a write behind the end of
 * a file the inode for itself, so that all others wait for it, and one into a hole to a worker, which
 * has to be woken. Within the file, where it has blocks, writes around the page cache go side by side
 * and at once. So what is ahead has blocks, if the file system has them to give, and reads as zeros. It
 * is cut off when the file is closed; after a crash it stays.
 */

import fs from 'node:fs';
import { FALLOCATE, type Libc } from './libc.ts';

/** A file ends a quarter of its length behind the write that it was lengthened for, in these bounds, bytes. */
const AHEAD_BYTES_MIN = 4 * 1024 * 1024;
const AHEAD_BYTES_MAX = 64 * 1024 * 1024;

/**
 * A file system must have so many times more free than is taken ahead: the space is others' too, and
 * Linux takes all that there is before it finds that it is not enough.
 */
const FREE_TIMES = 16;

interface Waiting {
  readonly end: number;
  readonly begin: () => void;
}

export class Growth {
  readonly #fd: number;
  readonly #libc: Libc | undefined;
  /** Where the file ends; if it is farther on, that was refused, and given back. */
  #end: number;
  #isGrowing = false;
  /** The file system does not lengthen files like that: what is written does. */
  #isRefused = false;
  #waiting: Waiting[] = [];

  /** The file behind `fd`, which stays the caller's, ends at `end`; nobody else changes that. */
  constructor(fd: number, end: number, libc: Libc | undefined) {
    this.#fd = fd;
    this.#libc = libc;
    this.#end = end;
  }

  /** Calls `begin` when the file goes as far as `end`, now or later, or can not be made to. */
  reach(end: number, begin: () => void): void {
    if (end <= this.#end || this.#isRefused) {
      begin();
      return;
    }
    this.#waiting.push({ end, begin });
    if (!this.#isGrowing) void this.#grow();
  }

  /** Whether the file goes as far as `end` already. */
  covers(end: number): boolean {
    return end <= this.#end;
  }

  /** The file was made to end there. Nothing may wait for it to reach farther. */
  resized(end: number): void {
    this.#end = end;
  }

  /** Cuts off what is ahead of `end`. What the file system refuses stays, and does no harm. */
  async cut(end: number): Promise<void> {
    if (this.#end <= end) return;
    this.resized(end);
    await this.#truncate(end);
  }

  async #grow(): Promise<void> {
    const reached = this.#waiting.reduce((most, each) => Math.max(most, each.end), 0);
    const quarter = Math.floor(reached / 4);
    const ahead = Math.min(AHEAD_BYTES_MAX, Math.max(AHEAD_BYTES_MIN, quarter));
    const end = Math.ceil((reached + ahead) / AHEAD_BYTES_MIN) * AHEAD_BYTES_MIN;
    this.#isGrowing = true;
    // A gap that a write leaves stays one.
    const isLonger = await this.#lengthen(Math.max(this.#end, reached - ahead), end);
    this.#isGrowing = false;
    if (isLonger) this.#end = end;
    else this.#isRefused = true; // and why, the write finds out
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const each of waiting) this.reach(each.end, each.begin);
  }

  /** With blocks from `first` on, or where those are not to be had with a hole. */
  async #lengthen(first: number, end: number): Promise<boolean> {
    if (await this.#allocate(first, end - first)) return true;
    return this.#truncate(end);
  }

  async #allocate(first: number, length: number): Promise<boolean> {
    if (this.#libc === undefined) return false;
    try {
      const { bavail, bsize } = await fs.promises.statfs(`/proc/self/fd/${this.#fd}`);
      if (bavail * bsize < FREE_TIMES * length) return false;
      await this.#libc.fallocate(this.#fd, FALLOCATE.lengthen, first, length);
      return true;
    } catch {
      await this.#truncate(this.#end); // gives back what it got before there was no more
      return false;
    }
  }

  #truncate(end: number): Promise<boolean> {
    return new Promise((resolve) => {
      fs.ftruncate(this.#fd, end, (error) => resolve(error === null));
    });
  }
}
