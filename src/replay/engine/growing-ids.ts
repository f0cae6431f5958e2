/// <reference lib="es2024.sharedmemory" />
/**
 * An array of 32-bit numbers, or of bits, whose length is known only at the end. Shared memory of
 * more than a little grows in place: what is copied would be there twice, and the old one until
 * the garbage is collected, which of hundreds of megabytes is most of what a replay takes.
 */
import { TmemError } from '../../lib/errors.ts';

/** Below this memory is copied as it grows: address space for the most is taken for it at once. */
const IN_PLACE_BYTES = 1 << 20;
/** Shared memory that grows in place has no more than that in this version of V8. */
export const SHARED_BYTES_MAX = 2 ** 32;

/**
 * `memory`, or a copy of it, with `bytes` bytes, which are more than it has and at most
 * `SHARED_BYTES_MAX`; the memory that was given may be of no use afterwards.
 */
export function grownShared(memory: SharedArrayBuffer, bytes: number): SharedArrayBuffer {
  if (memory.growable) {
    memory.grow(bytes);
    return memory;
  }
  const larger =
    bytes < IN_PLACE_BYTES ? new SharedArrayBuffer(bytes) : reserved(bytes, SHARED_BYTES_MAX);
  new Uint8Array(larger).set(new Uint8Array(memory));
  return larger;
}

function reserved(bytes: number, bytesMax: number): SharedArrayBuffer {
  try {
    return new SharedArrayBuffer(bytes, { maxByteLength: bytesMax });
  } catch (cause) {
    throw new TmemError(
      'usage',
      `there is no room in the address space for a trace of this size; raise ulimit -v, or sample it`,
      { cause },
    );
  }
}

const IDS_MIN = 1 << 12;
/** By so many ids memory grows at most: it is not touched, but counted where there is a limit. */
const IDS_STEP_MAX = 1 << 24;

/** Collects 32-bit numbers. */
export class GrowingIds {
  length = 0;
  private ids = new Int32Array(new SharedArrayBuffer(IDS_MIN * 4));

  push(value: number): void {
    if (this.length === this.ids.length) this.grow();
    this.ids[this.length++] = value;
  }

  /** All of them on a `SharedArrayBuffer`; ask once, since `push` may change it. */
  finish(): Int32Array {
    return new Int32Array(this.ids.buffer, 0, this.length);
  }

  private grow(): void {
    const length = this.length + Math.min(this.length, IDS_STEP_MAX);
    this.ids = new Int32Array(grownShared(this.ids.buffer, length * 4), 0, length);
  }
}

/** Collects bits, of which only the ones that are set are told. */
export class GrowingBits {
  /** How many are set. */
  count = 0;
  private words = new Int32Array(1 << 12);

  /** Sets bit `index`; those never told are 0. */
  set(index: number): void {
    const word = index >>> 5;
    if (word >= this.words.length) {
      const words = new Int32Array(2 * word);
      words.set(this.words);
      this.words = words;
    }
    this.words[word] = this.words[word]! | (1 << (index & 31));
    this.count++;
  }

  /** Bits 0 to `length` - 1 on a `SharedArrayBuffer`, 32 in a word, the lowest first. */
  finish(length: number): Int32Array {
    const wordCount = Math.ceil(length / 32);
    const all = new Int32Array(new SharedArrayBuffer(wordCount * 4));
    all.set(this.words.subarray(0, wordCount));
    return all;
  }
}
