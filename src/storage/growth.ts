/**
 * Lets a file that grows end farther on than what was written. Linux gives a write behind the end of
 * a file the inode for itself, so that all others wait for it; within the file, writes around the
 * page cache go side by side. What is ahead is a hole. It is cut off when the file is closed; after a
 * crash it stays, and takes no blocks.
 */

import fs from 'node:fs';

/** A file ends so far behind the write that it was lengthened for, bytes. */
const AHEAD_BYTES = 64 * 1024 * 1024;

interface Waiting {
  readonly end: number;
  readonly begin: () => void;
}

export class Growth {
  readonly #fd: number;
  /** Where the file ends. */
  #end: number;
  #isGrowing = false;
  /** The file system does not lengthen files like that: what is written does. */
  #isRefused = false;
  #waiting: Waiting[] = [];

  /** The file behind `fd`, which stays the caller's, ends at `end`; nobody else changes that. */
  constructor(fd: number, end: number) {
    this.#fd = fd;
    this.#end = end;
  }

  /** Calls `begin` when the file goes as far as `end`, now or later, or can not be made to. */
  reach(end: number, begin: () => void): void {
    if (end <= this.#end || this.#isRefused) {
      begin();
      return;
    }
    this.#waiting.push({ end, begin });
    if (!this.#isGrowing) this.#grow();
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
    this.#end = end;
    await new Promise<void>((resolve) => fs.ftruncate(this.#fd, end, () => resolve()));
  }

  #grow(): void {
    const end = AHEAD_BYTES + this.#waiting.reduce((most, each) => Math.max(most, each.end), 0);
    this.#isGrowing = true;
    fs.ftruncate(this.#fd, end, (error) => {
      this.#isGrowing = false;
      if (error === null) this.#end = end;
      else this.#isRefused = true; // and why, the write finds out
      const waiting = this.#waiting;
      this.#waiting = [];
      for (const each of waiting) this.reach(each.end, each.begin);
    });
  }
}
