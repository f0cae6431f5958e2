/**
 * The buffers that requests in flight live in: a fixed number, made once, lent and returned. When
 * they are all lent, whoever wants one waits its turn; so bytes in flight are bounded by
 * construction and moving data needs no memory that it does not have.
 */

import { alignedBuffer, MEMORY_ALIGNMENT_BYTES } from './aligned-buffer.ts';

/** Bytes of data that one buffer holds at the most, beside headroom and edges; see `PooledBuffer`. */
export const PIECE_BYTES = 256 * 1024;
const SMALL_PIECE_BYTES = 16 * 1024;

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

/** Buffers of one size. */
class Shelf {
  readonly free: PooledBuffer[] = [];
  readonly waiting: ((buffer: PooledBuffer) => void)[] = [];
  readonly dataBytes: number;
  readonly count: number;

  constructor(dataBytes: number, memory: Buffer, count: number) {
    this.dataBytes = dataBytes;
    this.count = count;
    const stride = dataBytes + MEMORY_ALIGNMENT_BYTES;
    for (let i = 0; i < count; i++) {
      const buffer = memory.subarray(i * stride, (i + 1) * stride);
      this.free.push({ buffer, dataOffset: MEMORY_ALIGNMENT_BYTES, dataBytes, isLent: false });
    }
  }

  take(): PooledBuffer | undefined {
    const buffer = this.free.pop();
    if (buffer !== undefined) buffer.isLent = true;
    return buffer;
  }
}

/** Lends buffers of two sizes; whoever has taken one releases it, once. */
export class BufferPool {
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

  /** A buffer for `bytes` of data (whole pages, at most PIECE_BYTES and two pages), or undefined. */
  take(bytes: number): PooledBuffer | undefined {
    return this.#shelfFor(bytes).take();
  }

  /** The same, waiting for one if need be; those who wait are served in order. */
  async wait(bytes: number): Promise<PooledBuffer> {
    const shelf = this.#shelfFor(bytes);
    return shelf.take() ?? (await new Promise((resolve) => shelf.waiting.push(resolve)));
  }

  /** Returns a lent buffer; its bytes may be overwritten at once. Throws for one that is not lent. */
  release(buffer: PooledBuffer): void {
    if (!buffer.isLent) throw new Error('buffer pool: a buffer was returned that is not lent');
    const shelf = buffer.dataBytes === this.#small.dataBytes ? this.#small : this.#large;
    const next = shelf.waiting.shift();
    if (next !== undefined) {
      next(buffer);
      return;
    }
    buffer.isLent = false;
    shelf.free.push(buffer);
  }

  /** Whether `bytes` of data go into one of the small buffers. */
  isSmall(bytes: number): boolean {
    return this.#shelfFor(bytes) === this.#small;
  }

  /** Buffers of either size, lent or not. */
  get smallCount(): number {
    return this.#small.count;
  }

  get largeCount(): number {
    return this.#large.count;
  }

  /** Whether somebody waits for a buffer. */
  get isWaitedFor(): boolean {
    return this.#small.waiting.length + this.#large.waiting.length > 0;
  }

  /** Whether more than half of the large buffers are free: then speculative work may take one. */
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

function lentBytesOf(shelf: Shelf): number {
  return (shelf.count - shelf.free.length) * (shelf.dataBytes + MEMORY_ALIGNMENT_BYTES);
}
