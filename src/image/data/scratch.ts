/**
 * Memory of an image for pieces that must be put together, or enciphered, before they are written. It
 * is one buffer, aligned for O_DIRECT, made when the first wants some; who wants more than is left
 * waits for others, in turn. So it is bounded, however many requests are under way.
 */

import { alignedBuffer } from '../../lib/aligned-buffer.ts';

/** It is given out in whole numbers of these, bytes. */
const SLOT_BYTES = 64 * 1024;

interface Waiting {
  readonly length: number;
  readonly resolve: (buffer: Buffer) => void;
}

export class Scratch {
  readonly #isLent: Uint8Array;
  readonly #waiting: Waiting[] = [];
  #memory: Buffer | undefined;
  #lentSlots = 0;
  /** A piece that is larger than all of it, which one may have while nobody else has any. */
  #oversize: Buffer | undefined;
  readonly #plain = new WeakSet<Buffer>();

  /** `bytesMax` are rounded down to slots, of which there is at least one. */
  constructor(bytesMax: number) {
    this.#isLent = new Uint8Array(Math.max(1, Math.floor(bytesMax / SLOT_BYTES)));
  }

  get bytesMax(): number {
    return this.#isLent.length * SLOT_BYTES;
  }

  /**
   * At least `length` bytes of any content, to be given back with `give`, for what comes from or goes
   * to `other`. Who has some already, as `other`, gets plain memory: it must not wait for itself.
   * Throws `no-space` where the system has no room for it.
   */
  take(length: number, other: Buffer): Buffer | Promise<Buffer> {
    if (this.#isFromHere(other)) {
      const plain = Buffer.allocUnsafeSlow(length);
      this.#plain.add(plain);
      return plain;
    }
    const found = this.#waiting.length === 0 ? this.#find(length) : undefined;
    return found ?? new Promise((resolve) => this.#waiting.push({ length, resolve }));
  }

  give(buffer: Buffer): void {
    if (this.#plain.has(buffer)) return;
    if (buffer === this.#oversize) {
      this.#oversize = undefined;
    } else {
      this.#mark(buffer.byteOffset / SLOT_BYTES, buffer.length / SLOT_BYTES, 0);
    }
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      const found = this.#find(next.length);
      if (found === undefined) return;
      this.#waiting.shift();
      next.resolve(found);
    }
  }

  #find(length: number): Buffer | undefined {
    if (this.#oversize !== undefined) return undefined;
    const count = Math.ceil(length / SLOT_BYTES);
    if (count > this.#isLent.length) {
      if (this.#lentSlots > 0) return undefined;
      this.#oversize = Buffer.allocUnsafeSlow(length);
      return this.#oversize;
    }
    const first = this.#freeRun(count);
    if (first === undefined) return undefined;
    // Before the slots are lent: where there is no room, nobody has them to give back.
    this.#memory ??= alignedBuffer(this.bytesMax);
    this.#mark(first, count, 1);
    return this.#memory.subarray(first * SLOT_BYTES, (first + count) * SLOT_BYTES);
  }

  #freeRun(count: number): number | undefined {
    let free = 0;
    for (let slot = 0; slot < this.#isLent.length; slot++) {
      free = this.#isLent[slot] === 0 ? free + 1 : 0;
      if (free === count) return slot + 1 - count;
    }
    return undefined;
  }

  #mark(first: number, count: number, isLent: 0 | 1): void {
    this.#isLent.fill(isLent, first, first + count);
    this.#lentSlots += isLent === 1 ? count : -count;
  }

  #isFromHere(buffer: Buffer): boolean {
    if (buffer === this.#oversize || buffer.buffer === this.#memory?.buffer) return true;
    return this.#plain.has(buffer);
  }
}
