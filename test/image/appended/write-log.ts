/**
 * A container that writes down what reaches it, and what a loss of power could leave of it at any
 * moment: all that was finished before the last sync began that ended, and of what came later any
 * sectors.
 */

import type { ResizableStorage } from '../../../src/storage/storage.ts';
import type { Random } from '../../tools/crash-random.ts';

const SECTOR = 512;

interface LoggedWrite {
  readonly startedAt: number;
  finishedAt: number;
  readonly offset: number;
  readonly bytes: Buffer;
}

interface LoggedSync {
  readonly startedAt: number;
  finishedAt: number;
}

/** Time is the count of what happened. Requests overtake each other. */
export class LoggedContainer implements ResizableStorage {
  readonly name = 'logged.img';
  readonly isReadOnly = false;
  readonly alignmentBytes = 1;
  readonly supports = { discard: false, fastZeroes: false, extents: false };
  readonly writes: LoggedWrite[] = [];
  readonly syncs: LoggedSync[] = [];
  readonly #random: Random;
  readonly #start: Buffer;
  #bytes: Buffer;
  #cut: { readonly startedAt: number; readonly sizeBytes: number } | undefined;
  #now = 0;

  /** Begins with these bytes, which are stable. */
  constructor(bytes: Buffer, random: Random) {
    this.#start = bytes;
    this.#bytes = Buffer.from(bytes);
    this.#random = random;
  }

  get sizeBytes(): number {
    return this.#bytes.length;
  }

  tick(): number {
    return ++this.#now;
  }

  async read(buffer: Buffer, at: number, length: number, offset: number): Promise<void> {
    await this.#turns();
    if (offset + length > this.sizeBytes) throw new RangeError(`no ${length} bytes at ${offset}`);
    this.#bytes.copy(buffer, at, offset, offset + length);
  }

  async write(buffer: Buffer, at: number, length: number, offset: number): Promise<void> {
    const bytes = Buffer.from(buffer.subarray(at, at + length));
    const finishedAt = Number.POSITIVE_INFINITY;
    const write: LoggedWrite = { startedAt: this.tick(), finishedAt, offset, bytes };
    this.writes.push(write);
    await this.#turns();
    if (offset + length > this.sizeBytes) await this.resize(offset + length);
    bytes.copy(this.#bytes, offset);
    write.finishedAt = this.tick();
  }

  writeZeroes(offset: number, length: number): Promise<void> {
    return this.write(Buffer.alloc(length), 0, length, offset);
  }

  async sync(): Promise<void> {
    const sync = { startedAt: this.tick(), finishedAt: Number.POSITIVE_INFINITY };
    await this.#turns();
    sync.finishedAt = this.tick();
    this.syncs.push(sync);
  }

  async resize(sizeBytes: number): Promise<void> {
    if (sizeBytes < this.sizeBytes) {
      if (this.#cut !== undefined) throw new Error('the log is cut once');
      this.#cut = { startedAt: this.tick(), sizeBytes };
    }
    const larger = Buffer.alloc(sizeBytes);
    this.#bytes.copy(larger);
    this.#bytes = larger;
  }

  async discard(): Promise<void> {}

  async extent(_offset: number, length: number) {
    return { length, isHole: false };
  }

  async close(): Promise<void> {}

  /**
   * What is left when the power is lost then; `lost` is the share of unsynced sectors that is, or
   * `oldest`: of what was not synced, some of the first writes are lost and all later ones are there.
   */
  mediumAt(now: number, lost: number | 'oldest'): Buffer {
    const synced = Math.max(
      0,
      ...this.syncs.filter((sync) => sync.finishedAt <= now).map((sync) => sync.startedAt),
    );
    const begun = this.writes.filter((write) => write.startedAt <= now);
    const kept: { offset: number; bytes: Buffer }[] = [];
    const unsynced = begun.filter(({ finishedAt }) => finishedAt >= synced);
    const oldest = new Set(unsynced.slice(0, this.#random.below(unsynced.length + 1)));
    for (const write of begun) {
      const { finishedAt, offset, bytes } = write;
      if (finishedAt < synced) kept.push({ offset, bytes });
      else if (lost !== 'oldest') kept.push(...this.#survivors(offset, bytes, lost));
      else if (!oldest.has(write)) kept.push({ offset, bytes });
    }
    if (this.#cut !== undefined && this.#cut.startedAt <= now && lost !== 1) {
      return this.#afterCut(kept, this.#cut);
    }
    const ends = kept.map(({ offset, bytes }) => offset + bytes.length);
    const medium = Buffer.alloc(Math.max(this.#start.length, ...ends));
    this.#start.copy(medium);
    for (const { offset, bytes } of kept) bytes.copy(medium, offset);
    return medium;
  }

  /** A cut happens as a whole or not. What is written behind it later is left out: no test does that. */
  #afterCut(
    kept: readonly { offset: number; bytes: Buffer }[],
    { sizeBytes }: { sizeBytes: number },
  ) {
    const medium = Buffer.alloc(sizeBytes);
    this.#start.copy(medium);
    for (const { offset, bytes } of kept) bytes.copy(medium, offset);
    return medium;
  }

  #survivors(offset: number, bytes: Buffer, lost: number) {
    const parts: { offset: number; bytes: Buffer }[] = [];
    for (let at = 0; at < bytes.length; ) {
      const end = Math.min(bytes.length, at + SECTOR - ((offset + at) % SECTOR));
      if (!this.#random.chance(lost)) {
        parts.push({ offset: offset + at, bytes: bytes.subarray(at, end) });
      }
      at = end;
    }
    return parts;
  }

  async #turns(): Promise<void> {
    const count = this.#random.below(3);
    for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
  }
}
