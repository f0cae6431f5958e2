/**
 * The shortest encoding of a page, and the way back: four bytes for a page that repeats them, one
 * LZ4 block where that is worth its decoding, else the page as it is.
 */

import { PAGE_BYTES_MIN } from '../lib/page-bytes.ts';
import { type Encoding, FILLED, LZ4, RAW } from '../tmem/layer.ts';
import { isSameFilled } from '../tmem/same-filled.ts';
import type { PageCodec } from './codec.ts';

/** A block is worth its decoding only if it is shorter than the page by this part. */
const WORTH_PART = 16;

/** Room for one page of one size, made once. */
class Scratch {
  readonly page: Buffer;
  readonly words: Int32Array;

  constructor(pageBytes: number) {
    this.page = Buffer.from(new ArrayBuffer(pageBytes));
    this.words = new Int32Array(this.page.buffer);
  }
}

/** Encodes and decodes pages of every size; allocates nothing for a page. */
export class PageEncoder {
  /** What the last `encode` made: `length` bytes of `encoded`, valid until the next call. */
  encoded: Buffer;
  length = 0;
  readonly #codec: PageCodec;
  readonly #block: Buffer;
  /** By the binary logarithm of the page size. */
  readonly #scratch: Scratch[] = [];

  constructor(codec: PageCodec, pageBytesMax: number) {
    this.#codec = codec;
    this.#block = Buffer.from(new ArrayBuffer(pageBytesMax));
    this.encoded = this.#block;
    for (let bytes = PAGE_BYTES_MIN; bytes <= pageBytesMax; bytes *= 2) {
      this.#scratch[Math.log2(bytes)] = new Scratch(bytes);
    }
  }

  /** Encodes the page at `src[srcOffset]` into `encoded`. */
  encode(src: Buffer, srcOffset: number, pageBytes: number): Encoding {
    const { page } = this.#scratchFor(pageBytes);
    page.set(src.subarray(srcOffset, srcOffset + pageBytes));
    this.encoded = page;
    if (isSameFilled(page, 0, pageBytes)) {
      this.length = 4;
      return FILLED;
    }
    const length = this.#codec.encode(page, this.#block, pageBytes - pageBytes / WORTH_PART);
    if (length === 0) {
      this.length = pageBytes;
      return RAW;
    }
    this.encoded = this.#block;
    this.length = length;
    return LZ4;
  }

  /** Decodes the block at `src[start, end)` to a page at `dst`; false, and `dst` untouched, if it is malformed. */
  decode(
    src: Buffer,
    start: number,
    end: number,
    pageBytes: number,
    dst: Buffer,
    dstOffset: number,
  ): boolean {
    const { page } = this.#scratchFor(pageBytes);
    if (!this.#codec.decode(src, start, end, page)) return false;
    dst.set(page, dstOffset);
    return true;
  }

  /** Makes a page at `dst` that repeats the word. */
  fill(word: number, pageBytes: number, dst: Buffer, dstOffset: number): void {
    const { page, words } = this.#scratchFor(pageBytes);
    words.fill(word);
    dst.set(page, dstOffset);
  }

  #scratchFor(pageBytes: number): Scratch {
    return this.#scratch[31 - Math.clz32(pageBytes)]!;
  }
}
