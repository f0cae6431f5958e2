/** The memory of slabs: a few large buffers, each cut into frames of one slab. */

const PAGE_BYTES_MIN = 4096;

/** One buffer that slabs are cut from. Behind its frames lies a page to copy through. */
export class Arena {
  /** Frames, then the tail. */
  readonly buffer: Buffer;
  /** The same memory as 32-bit words. */
  readonly words: Uint32Array;
  readonly tailOffset: number;
  readonly freeFrames: number[] = [];
  readonly frameCount: number;
  readonly #tails: Buffer[] = [];

  /** Throws a RangeError when the system has no such memory. */
  constructor(bytes: number, slabBytes: number, tailBytes: number) {
    this.frameCount = bytes / slabBytes;
    // A fresh allocation of this size comes from the system and is mapped as it is touched.
    const memory = new ArrayBuffer(bytes + tailBytes);
    this.buffer = Buffer.from(memory);
    this.words = new Uint32Array(memory);
    this.tailOffset = bytes;
    for (let frame = this.frameCount - 1; frame >= 0; frame--) this.freeFrames.push(frame);
    for (let length = PAGE_BYTES_MIN; length <= tailBytes; length *= 2) {
      this.#tails[Math.log2(length)] = this.buffer.subarray(bytes, bytes + length);
    }
  }

  /** The tail as a view of exactly that length, a page size; made once, so that a copy allocates nothing. */
  tail(length: number): Buffer {
    const tail = this.#tails[31 - Math.clz32(length)];
    if (tail?.length !== length) throw new Error(`slabs: ${length} is not a page size`);
    return tail;
  }
}
