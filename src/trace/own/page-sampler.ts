/** Takes the pages of a sample out of requests: all requests of a page are in it, or none. */

import { SAMPLE_PAGE_BYTES, samplingHash } from './format.ts';

/** Requests that are longer (discards of whole disks) are in every sample as they are, bytes. */
export const SPLIT_BYTES_MAX = 64 * 1024 * 1024;

/** Of 2^32 hashes of pages so many are in a sample of `rate`, which is above 0 and below 1. */
export function sampleThresholdOf(rate: number): number {
  return Math.max(1, Math.floor(rate * 2 ** 32));
}

/** Goes through the runs of sampled pages of one request after another. */
export class PageSampler {
  /** The run that `next` found, bytes, cut to the request. */
  runOffset = 0;
  runLength = 0;
  readonly #threshold: number;
  readonly #splitBytesMax: number;
  #volume = 0;
  #page = 0;
  #start = 0;
  #end = 0;
  #isWhole = false;

  /** `rate` is above 0 and below 1; what is longer than `splitBytesMax` is taken as it is. */
  constructor(rate: number, splitBytesMax: number = SPLIT_BYTES_MAX) {
    this.#threshold = sampleThresholdOf(rate);
    this.#splitBytesMax = splitBytesMax;
  }

  /** Begins with a request; of a trace of keys, the key is the page. */
  begin(volume: number, offset: number, length: number, isKey: boolean): void {
    this.#volume = volume;
    this.#start = offset;
    this.#end = offset + length;
    this.#isWhole = isKey ? this.#has(offset) : length === 0 || length > this.#splitBytesMax;
    // Without pages to go through, only the whole request is left, if at all.
    this.#page = isKey || this.#isWhole ? Number.POSITIVE_INFINITY : this.#pageOf(offset);
  }

  /** Has the request that was begun with as its only run, whatever its pages. */
  takeWhole(): void {
    this.#isWhole = true;
    this.#page = Number.POSITIVE_INFINITY;
  }

  /** Goes to the next run; false if there is none. */
  next(): boolean {
    if (this.#isWhole) {
      this.#isWhole = false;
      this.runOffset = this.#start;
      this.runLength = this.#end - this.#start;
      return true;
    }
    const end = this.#end / SAMPLE_PAGE_BYTES;
    while (this.#page < end && !this.#has(this.#page)) this.#page++;
    if (this.#page >= end) return false;
    this.runOffset = Math.max(this.#start, this.#page * SAMPLE_PAGE_BYTES);
    while (this.#page < end && this.#has(this.#page)) this.#page++;
    this.runLength = Math.min(this.#end, this.#page * SAMPLE_PAGE_BYTES) - this.runOffset;
    return true;
  }

  #pageOf(offset: number): number {
    return Math.floor(offset / SAMPLE_PAGE_BYTES);
  }

  #has(page: number): boolean {
    return samplingHash(this.#volume, page) < this.#threshold;
  }
}
