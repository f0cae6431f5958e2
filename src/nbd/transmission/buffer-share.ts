/**
 * What one client may hold of a buffer pool. A buffer with a reply in it is held until the client
 * has taken it, which a client may never do; so that it cannot keep the buffers that others wait
 * for, it gets a part of each size and no more.
 */

import type { Buffers, PooledBuffer } from '../../lib/buffer-pool.ts';

/** One client in so many could take a pool for itself. */
const SHARES_MIN = 4;
/** More at a time than the disk can be busy with gain nothing. */
const SMALL_COUNT_MAX = 32;
const LARGE_COUNT_MAX = 8;

/** The share of one client in the pool it is made with; `close` it when the client is gone. */
export class BufferShare {
  /** Called when there is room after `hasRoomFor` or `isUnused` had answered no. */
  onRoom: () => void = () => undefined;

  readonly #pool: Buffers;
  readonly #smallMax: number;
  readonly #largeMax: number;
  #smallHeld = 0;
  #largeHeld = 0;
  #isRoomWanted = false;
  #isClosed = false;
  readonly #waiting: (() => void)[] = [];

  constructor(pool: Buffers) {
    this.#pool = pool;
    this.#smallMax = partOf(pool.smallCount, SMALL_COUNT_MAX);
    this.#largeMax = partOf(pool.largeCount, LARGE_COUNT_MAX);
  }

  /** Whether this client may hold one more buffer for `bytes`, be it free or to be waited for. */
  hasRoomFor(bytes: number): boolean {
    const hasRoom = this.#pool.isSmall(bytes)
      ? this.#smallHeld < this.#smallMax
      : this.#largeHeld < this.#largeMax;
    if (hasRoom || this.#isClosed) return true;
    this.#isRoomWanted = true;
    return false;
  }

  /** Whether the client holds nothing at all. */
  get isUnused(): boolean {
    if (this.#smallHeld + this.#largeHeld === 0) return true;
    this.#isRoomWanted = true;
    return false;
  }

  /** Whether others wait for what the client holds, or for the like of it. */
  get isWaitedFor(): boolean {
    return this.#smallHeld + this.#largeHeld > 0 && this.#pool.isWaitedFor;
  }

  /** A buffer that is free now, or undefined. The caller has asked `hasRoomFor`. */
  take(bytes: number): PooledBuffer | undefined {
    const buffer = this.#pool.take(bytes);
    if (buffer !== undefined) this.#count(bytes, 1);
    return buffer;
  }

  /** Waits for room in the share, then for a buffer; what is waited for counts as held. */
  async wait(bytes: number): Promise<PooledBuffer> {
    while (!this.hasRoomFor(bytes)) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    this.#count(bytes, 1);
    return await this.#pool.wait(bytes);
  }

  release(buffer: PooledBuffer): void {
    this.#count(buffer.dataBytes, -1);
    this.#pool.release(buffer);
    this.#letGoOn();
  }

  /** The client is gone: nobody waits for room any more, and what it held comes back by itself. */
  close(): void {
    this.#isClosed = true;
    this.#letGoOn();
  }

  #letGoOn(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
    if (!this.#isRoomWanted) return;
    this.#isRoomWanted = false;
    this.onRoom();
  }

  #count(bytes: number, change: 1 | -1): void {
    if (this.#pool.isSmall(bytes)) this.#smallHeld += change;
    else this.#largeHeld += change;
  }
}

function partOf(count: number, max: number): number {
  return Math.max(1, Math.min(max, Math.floor(count / SHARES_MIN)));
}
