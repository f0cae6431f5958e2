/**
 * An array of 32-bit numbers, or of bits, whose length is known only at the end. It grows by
 * segments, so that nothing is copied while it grows, and ends as one array on shared memory.
 */

const SEGMENT_LENGTH = 1 << 20;

/** Collects 32-bit numbers. */
export class GrowingIds {
  length = 0;
  private readonly segments: Int32Array[] = [];
  private current = new Int32Array(0);
  private used = 0;

  push(value: number): void {
    if (this.used === this.current.length) {
      this.current = new Int32Array(SEGMENT_LENGTH);
      this.segments.push(this.current);
      this.used = 0;
    }
    this.current[this.used++] = value;
    this.length++;
  }

  /** All of them on a `SharedArrayBuffer`; the segments are given back, so ask once. */
  finish(): Int32Array {
    const all = new Int32Array(new SharedArrayBuffer(this.length * 4));
    for (let start = 0; start < this.length; start += SEGMENT_LENGTH) {
      const segment = this.segments.shift() ?? this.current;
      all.set(segment.subarray(0, Math.min(SEGMENT_LENGTH, this.length - start)), start);
    }
    this.current = new Int32Array(0);
    return all;
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
