/**
 * What is in each segment of an overflow file: how much of it is live, who reads it, and which
 * segments are free. A segment is free when nothing in it is live and no read of it is under way.
 */

const FREE = 0;
/** In memory: being filled, or on its way to the file. */
const IN_MEMORY = 1;
const ON_FILE = 2;
/** On the file, and not to be cleaned: it could not be read, or a live record in it is damaged. */
const DAMAGED = 3;

/** Segments looked at for one victim. */
const CANDIDATES_MAX = 65_536;

export class SegmentTable {
  readonly count: number;
  /** Bytes of live records, in all segments, and bytes used in segments that are not free. */
  liveBytes = 0;
  usedBytes = 0;
  freeCount: number;
  damagedCount = 0;
  readonly #states: Uint8Array<ArrayBuffer>;
  readonly #live: Uint32Array<ArrayBuffer>;
  readonly #used: Uint32Array<ArrayBuffer>;
  readonly #sequences: Uint32Array<ArrayBuffer>;
  readonly #readers: Uint32Array<ArrayBuffer>;
  readonly #free: Uint32Array<ArrayBuffer>; // a stack
  #cursor = 0;
  #waiting: (() => void)[] = [];

  constructor(count: number) {
    this.count = count;
    this.freeCount = count;
    this.#states = new Uint8Array(count);
    this.#live = new Uint32Array(count);
    this.#used = new Uint32Array(count);
    this.#sequences = new Uint32Array(count);
    this.#readers = new Uint32Array(count);
    // The start of the file is used first, so that it grows only as far as it must.
    this.#free = Uint32Array.from({ length: count }, (_, index) => count - 1 - index);
  }

  get metadataBytes(): number {
    const tables = [this.#live, this.#used, this.#sequences, this.#readers, this.#free];
    return tables.reduce((sum, each) => sum + each.byteLength, this.#states.byteLength);
  }

  /** A free segment, which is the caller's to fill, in a new incarnation. There must be one. */
  take(): number {
    const segment = this.#free[--this.freeCount];
    if (segment === undefined) throw new Error('swap: no segment is free');
    this.#states[segment] = IN_MEMORY;
    this.renew(segment);
    return segment;
  }

  /** As `take`, the first of the file, if that lies before `segment`; else -1. Looks at all. */
  takeBefore(segment: number): number {
    const free = this.#free.subarray(0, this.freeCount);
    const first = free.reduce((one, other) => Math.min(one, other), segment);
    const at = free.indexOf(first);
    if (at < 0) return -1;
    free[at] = free[this.freeCount - 1]!;
    free[this.freeCount - 1] = first;
    return this.take();
  }

  /**
   * What a segment in memory holds is in `to` from now on, which was taken for that. It is free, and
   * the last to be taken.
   */
  replace(segment: number, to: number): void {
    this.#live[to] = this.#live[segment]!;
    this.#used[to] = this.#used[segment]!;
    this.#live[segment] = 0;
    this.#used[segment] = 0;
    this.#states[segment] = FREE;
    this.#free.copyWithin(1, 0, this.freeCount++);
    this.#free[0] = segment;
    for (const wake of this.#waiting.splice(0)) wake();
  }

  /** A segment in memory in which nothing is live is filled anew, in a new incarnation. */
  renew(segment: number): void {
    if (this.#live[segment] !== 0) throw new Error('swap: renewed a segment in use');
    this.usedBytes -= this.#used[segment]!;
    this.#used[segment] = 0;
    this.#sequences[segment]!++;
  }

  sequence(segment: number): number {
    return this.#sequences[segment]!;
  }

  live(segment: number): number {
    return this.#live[segment]!;
  }

  /** Bytes of it that hold records, live or not, and nothing else. */
  used(segment: number): number {
    return this.#used[segment]!;
  }

  /** Bytes were used in a segment in memory, for a record that is live. */
  add(segment: number, bytes: number): void {
    this.#live[segment]! += bytes;
    this.#used[segment]! += bytes;
    this.liveBytes += bytes;
    this.usedBytes += bytes;
  }

  /** A record is live no more. */
  remove(segment: number, bytes: number): void {
    this.#live[segment]! -= bytes;
    this.liveBytes -= bytes;
    this.#freeIfUnused(segment);
  }

  /** The segment has been written to the file, or nothing of it needs to be. */
  leaveMemory(segment: number): void {
    this.#states[segment] = ON_FILE;
    this.#freeIfUnused(segment);
  }

  /** A read of a segment on the file begins: it is not reused until `endRead`. */
  beginRead(segment: number): void {
    this.#readers[segment]!++;
  }

  endRead(segment: number): void {
    this.#readers[segment]!--;
    this.#freeIfUnused(segment);
  }

  /** A segment on the file is not cleaned any more; it becomes free when all in it is dropped. */
  markDamaged(segment: number): void {
    if (this.#states[segment] !== ON_FILE) return;
    this.#states[segment] = DAMAGED;
    this.damagedCount++;
  }

  /** The segment on the file with the least that is live, but not more than `liveMax`; or -1. */
  emptiest(liveMax: number): number {
    let best = -1;
    let bestLive = liveMax + 1;
    const steps = Math.min(this.count, CANDIDATES_MAX);
    for (let step = 0; step < steps; step++) {
      this.#cursor = (this.#cursor + 1) % this.count;
      const live = this.#live[this.#cursor]!;
      // One with nothing live only waits for its readers.
      if (this.#states[this.#cursor] !== ON_FILE || live === 0 || live >= bestLive) continue;
      best = this.#cursor;
      bestLive = live;
    }
    return best;
  }

  /** Whether a segment will be free as soon as its readers are done. Looks at all: rarely asked. */
  get hasUnusedRead(): boolean {
    return this.#readers.some((readers, segment) => readers > 0 && this.#live[segment] === 0);
  }

  /** Resolves when the next segment becomes free. */
  freed(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  #freeIfUnused(segment: number): void {
    const state = this.#states[segment];
    if (state !== ON_FILE && state !== DAMAGED) return;
    if (this.#live[segment] !== 0 || this.#readers[segment] !== 0) return;
    if (state === DAMAGED) this.damagedCount--;
    this.#states[segment] = FREE;
    this.usedBytes -= this.#used[segment]!;
    this.#used[segment] = 0;
    this.#free[this.freeCount++] = segment;
    for (const wake of this.#waiting.splice(0)) wake();
  }
}
