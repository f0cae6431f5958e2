/**
 * The buffers that requests in flight live in: a fixed number, made once, lent and returned. When
 * they are all lent, whoever wants one waits its turn; so bytes in flight are bounded by
 * construction and moving data needs no memory that it does not have.
 *
 * Where several share a pool, none of them can have it all: a few are kept for each that does not
 * have that many. So one whose buffers do not come back, as those of a disk that hangs, holds up no
 * other; and none lies idle while all of them have theirs.
 */

import { alignedBuffer, MEMORY_ALIGNMENT_BYTES } from './aligned-buffer.ts';

/** Bytes of data that one buffer holds at the most, beside headroom and edges; see `PooledBuffer`. */
export const PIECE_BYTES = 256 * 1024;
const SMALL_PIECE_BYTES = 16 * 1024;

/** Of each size, the part that those who share a pool have in equal parts, whatever others keep. */
const KEPT_PART = 1 / 4;
/** Who takes buffers of a pool without sharing it. */
const OWNER = 0;

/**
 * A lent buffer: page-aligned headroom for a protocol header, then the data, whole pages. Data that
 * begins inside a page lies that far behind `dataOffset`, so that page borders stay aligned.
 */
export interface PooledBuffer {
  readonly buffer: Buffer;
  /** Where the first whole page begins; a multiple of the memory alignment. */
  readonly dataOffset: number;
  /** Bytes from `dataOffset` on. */
  readonly dataBytes: number;
  /** Whether it is out; only the pool changes it. */
  isLent: boolean;
}

/** A pool as those see it who take buffers of it; whoever has taken one releases it, once. */
export interface Buffers {
  /** A buffer for `bytes` of data (whole pages, at most PIECE_BYTES and two pages), or undefined. */
  take(bytes: number): PooledBuffer | undefined;
  /** The same, waiting for one if need be; those who wait are served in order, if they may have one. */
  wait(bytes: number): Promise<PooledBuffer>;
  /** Returns a lent buffer; its bytes may be overwritten at once. Throws for one that is not lent. */
  release(buffer: PooledBuffer): void;
  /** Whether `bytes` of data go into one of the small buffers. */
  isSmall(bytes: number): boolean;
  /** Buffers of either size, lent or not. */
  readonly smallCount: number;
  readonly largeCount: number;
  /** Whether more than half of the large buffers are free: then speculative work may take one. */
  readonly isSpare: boolean;
  /** Whether somebody waits for what was taken here, and not for what others keep. */
  readonly isWaitedFor: boolean;
}

interface Waiting {
  /** Counts up: the least has waited longest. */
  readonly ticket: number;
  readonly resolve: (buffer: PooledBuffer) => void;
}

/** Buffers of one size. */
class Shelf {
  readonly free: PooledBuffer[] = [];
  readonly dataBytes: number;
  readonly count: number;
  /** How many each user has; the first is the owner, and the others share. */
  readonly #held = [0];
  /** Buffers that each can have, however many the others keep; of one who shares with nobody, 0. */
  #few = 0;
  /** What all of them together have less than that. */
  #lacking = 0;
  /** Those who wait, by user: of one whose buffers hang they may be thousands. */
  readonly #waiting: Waiting[][] = [[]];
  #waitingCount = 0;
  #nextTicket = 0;

  constructor(dataBytes: number, memory: Buffer, count: number) {
    this.dataBytes = dataBytes;
    this.count = count;
    const stride = dataBytes + MEMORY_ALIGNMENT_BYTES;
    for (let i = 0; i < count; i++) {
      const buffer = memory.subarray(i * stride, (i + 1) * stride);
      this.free.push({ buffer, dataOffset: MEMORY_ALIGNMENT_BYTES, dataBytes, isLent: false });
    }
  }

  /** One more shares the buffers; answers its number. */
  addUser(): number {
    const user = this.#held.push(0) - 1;
    this.#waiting.push([]);
    this.#few = user === 1 ? 0 : Math.max(1, Math.floor(this.#kept / user));
    this.#lacking = 0;
    for (const held of this.#held.slice(1)) this.#lacking += Math.max(0, this.#few - held);
    return user;
  }

  take(user: number): PooledBuffer | undefined {
    if (!this.#mayTake(user)) return undefined;
    const buffer = this.free.pop();
    if (buffer !== undefined) {
      buffer.isLent = true;
      if (user !== OWNER && this.#held[user]! < this.#few) this.#lacking--;
      this.#held[user]!++;
    }
    return buffer;
  }

  release(buffer: PooledBuffer, user: number): void {
    buffer.isLent = false;
    this.#held[user]!--;
    if (user !== OWNER && this.#held[user]! < this.#few) this.#lacking++;
    this.free.push(buffer);
    // While one is free nobody waits who may have it; only what comes back can change that.
    while (this.#waitingCount > 0 && this.#serve());
  }

  /** The buffer that `user` gets when it is its turn. */
  wait(user: number): Promise<PooledBuffer> {
    this.#waitingCount++;
    const ticket = this.#nextTicket++;
    return new Promise((resolve) => this.#waiting[user]!.push({ ticket, resolve }));
  }

  /** Whether somebody waits for one that `user` has. */
  isWaitedFor(user: number): boolean {
    if (this.#waiting[user]!.length > 0) return true;
    return this.#waitingCount > 0 && this.#held[user]! > this.#few;
  }

  /** Gives a buffer to the first who may have one; no if nobody may. */
  #serve(): boolean {
    let first = -1;
    let firstTicket = Number.POSITIVE_INFINITY;
    for (const [user, [next]] of this.#waiting.entries()) {
      if (next === undefined || next.ticket > firstTicket || !this.#mayTake(user)) continue;
      first = user;
      firstTicket = next.ticket;
    }
    const buffer = first < 0 ? undefined : this.take(first);
    if (buffer === undefined) return false;
    this.#waitingCount--;
    this.#waiting[first]!.shift()?.resolve(buffer);
    return true;
  }

  /** Whether a buffer is free, and not kept for those who have fewer. */
  #mayTake(user: number): boolean {
    if (this.free.length > Math.min(this.#kept, this.#lacking)) return true;
    return this.free.length > 0 && this.#held[user]! < this.#few;
  }

  get #kept(): number {
    return Math.floor(this.count * KEPT_PART);
  }
}

/** Lends buffers of two sizes. */
export class BufferPool implements Buffers {
  /** Bytes of all buffers, lent or not. */
  readonly totalBytes: number;
  readonly #small: Shelf;
  readonly #large: Shelf;

  /**
   * Buffers of about `budgetBytes` together, a quarter of it in small ones; at least four of each.
   * `pageBytes` is the largest page: each buffer has room for one piece that is aligned to nothing.
   */
  constructor(budgetBytes: number, pageBytes: number) {
    const smallData = SMALL_PIECE_BYTES + 2 * pageBytes;
    const largeData = PIECE_BYTES + 2 * pageBytes;
    const smallStride = smallData + MEMORY_ALIGNMENT_BYTES;
    const largeStride = largeData + MEMORY_ALIGNMENT_BYTES;
    const smallCount = Math.max(4, Math.min(512, Math.floor(budgetBytes / 4 / smallStride)));
    const largeCount = Math.max(4, Math.floor((budgetBytes * 3) / 4 / largeStride));
    const split = smallCount * smallStride;
    this.totalBytes = split + largeCount * largeStride;
    const memory = alignedBuffer(this.totalBytes);
    this.#small = new Shelf(smallData, memory.subarray(0, split), smallCount);
    this.#large = new Shelf(largeData, memory.subarray(split), largeCount);
  }

  /**
   * The pool for one of several who share it; what it takes it returns the same way. However long the
   * others keep what they have, it finds some, unless there are more sharers than buffers for the few.
   */
  shared(): Buffers {
    this.#small.addUser();
    return new SharedBuffers(this, this.#large.addUser());
  }

  take(bytes: number, user = OWNER): PooledBuffer | undefined {
    return this.#shelfFor(bytes).take(user);
  }

  async wait(bytes: number, user = OWNER): Promise<PooledBuffer> {
    const shelf = this.#shelfFor(bytes);
    return shelf.take(user) ?? (await shelf.wait(user));
  }

  release(buffer: PooledBuffer, user = OWNER): void {
    if (!buffer.isLent) throw new Error('buffer pool: a buffer was returned that is not lent');
    const shelf = buffer.dataBytes === this.#small.dataBytes ? this.#small : this.#large;
    shelf.release(buffer, user);
  }

  isSmall(bytes: number): boolean {
    return this.#shelfFor(bytes) === this.#small;
  }

  get smallCount(): number {
    return this.#small.count;
  }

  get largeCount(): number {
    return this.#large.count;
  }

  get isWaitedFor(): boolean {
    return this.hasWaitingFor(OWNER);
  }

  /** Whether somebody waits for what `user` has. */
  hasWaitingFor(user: number): boolean {
    return this.#small.isWaitedFor(user) || this.#large.isWaitedFor(user);
  }

  get isSpare(): boolean {
    return this.#large.free.length * 2 > this.#large.count;
  }

  /** Bytes that are lent now. */
  get lentBytes(): number {
    return lentBytesOf(this.#small) + lentBytesOf(this.#large);
  }

  #shelfFor(bytes: number): Shelf {
    if (bytes <= this.#small.dataBytes) return this.#small;
    if (bytes <= this.#large.dataBytes) return this.#large;
    throw new Error(`buffer pool: ${bytes} bytes do not fit a buffer`);
  }
}

/** What a pool lends to one of those who share it. */
class SharedBuffers implements Buffers {
  readonly #pool: BufferPool;
  readonly #user: number;

  constructor(pool: BufferPool, user: number) {
    this.#pool = pool;
    this.#user = user;
  }

  take(bytes: number): PooledBuffer | undefined {
    return this.#pool.take(bytes, this.#user);
  }

  wait(bytes: number): Promise<PooledBuffer> {
    return this.#pool.wait(bytes, this.#user);
  }

  release(buffer: PooledBuffer): void {
    this.#pool.release(buffer, this.#user);
  }

  isSmall(bytes: number): boolean {
    return this.#pool.isSmall(bytes);
  }

  get smallCount(): number {
    return this.#pool.smallCount;
  }

  get largeCount(): number {
    return this.#pool.largeCount;
  }

  get isSpare(): boolean {
    return this.#pool.isSpare;
  }

  get isWaitedFor(): boolean {
    return this.#pool.hasWaitingFor(this.#user);
  }
}

function lentBytesOf(shelf: Shelf): number {
  return (shelf.count - shelf.free.length) * (shelf.dataBytes + MEMORY_ALIGNMENT_BYTES);
}
