/** The memory of slabs: a few large buffers, each cut into frames of one slab. */

import type { ForgetMemory } from '../lib/forget-memory.ts';
import { PAGE_BYTES_MIN } from '../lib/page-bytes.ts';

/** What a frame has that is free: memory of the slab that was in it, or none. */
const NO_SLAB = -1;
const UNTOUCHED = -2;

/**
 * The way out for arenas. A buffer that nobody refers to is freed when the collector gets to it,
 * which in an idle process may be never; one that is transferred to a port without a receiver is
 * freed at once.
 */
export class ArenaExit {
  readonly #port: InstanceType<typeof MessageChannel>['port1'];

  constructor() {
    const { port1, port2 } = new MessageChannel();
    port2.close();
    this.#port = port1;
  }

  /** Frees the memory; every view of it is empty from then on. */
  release(memory: ArrayBuffer): void {
    this.#port.postMessage(null, [memory]);
  }
}

/** One buffer that slabs are cut from. Behind its frames lies a page to copy through. */
export class Arena {
  /** Frames, then the tail. */
  readonly buffer: Buffer;
  /** The same memory as 32-bit words. */
  readonly words: Uint32Array;
  readonly tailOffset: number;
  readonly freeFrames: number[] = [];
  readonly frameCount: number;
  /** Objects in its slabs that must stay where they are. */
  pinCount = 0;
  /** Frames that are free and have memory all the same. */
  #restCount = 0;
  /** By frame: the number of the slab in it, or NO_SLAB, or UNTOUCHED. */
  readonly #slabs: Int32Array;
  readonly #tails: Buffer[] = [];

  /** Throws a RangeError when the system has no such memory. */
  constructor(bytes: number, slabBytes: number, tailBytes: number) {
    this.frameCount = bytes / slabBytes;
    // A fresh allocation of this size comes from the system and is mapped as it is touched.
    const memory = new ArrayBuffer(bytes + tailBytes);
    this.buffer = Buffer.from(memory);
    this.words = new Uint32Array(memory);
    this.tailOffset = bytes;
    this.#slabs = new Int32Array(this.frameCount).fill(UNTOUCHED);
    for (let frame = this.frameCount - 1; frame >= 0; frame--) this.freeFrames.push(frame);
    for (let length = PAGE_BYTES_MIN; length <= tailBytes; length *= 2) {
      this.#tails[Math.log2(length)] = this.buffer.subarray(bytes, bytes + length);
    }
  }

  get usedFrameCount(): number {
    return this.frameCount - this.freeFrames.length;
  }

  /** Takes a free frame for a slab; there must be one. */
  takeFrame(slab: number): number {
    const frame = this.freeFrames.pop();
    if (frame === undefined) throw new Error('slabs: no free frame');
    if (this.#slabs[frame] === NO_SLAB) this.#restCount--;
    this.#slabs[frame] = slab;
    return frame;
  }

  freeFrame(frame: number): void {
    this.#slabs[frame] = NO_SLAB;
    this.#restCount++;
    this.freeFrames.push(frame);
  }

  /** Gives the memory of one free frame back to the system; false when none has any, or it cannot be. */
  forgetFrame(slabBytes: number, forget: ForgetMemory | undefined): boolean {
    if (this.#restCount === 0 || forget === undefined) return false;
    const frame = this.#slabs.indexOf(NO_SLAB);
    this.#restCount--;
    forget(this.buffer.subarray(frame * slabBytes, (frame + 1) * slabBytes));
    this.#slabs[frame] = UNTOUCHED;
    return true;
  }

  /** Gives the memory back to the system; nothing of it may be in use. */
  release(exit: ArenaExit): void {
    exit.release(this.buffer.buffer as ArrayBuffer);
  }

  /** The number of a slab that lies here; there must be one. */
  get anySlab(): number {
    return this.#slabs.find((slab) => slab >= 0) ?? NO_SLAB;
  }

  /** The tail as a view of exactly that length, a page size; made once, so that a copy allocates nothing. */
  tail(length: number): Buffer {
    const tail = this.#tails[31 - Math.clz32(length)];
    if (tail?.length !== length) throw new Error(`slabs: ${length} is not a page size`);
    return tail;
  }
}
