/**
 * SHARDS with a fixed number of samples: the miss-ratio curve of LRU in constant memory, while the
 * references go by. Waldspurger, Park, Garthwaite and Ahmad, "Efficient MRC construction with
 * SHARDS" (FAST'15), sections 3.2 and 3.3, with the correction of section 3.4 ("SHARDS-adj").
 *
 * Where the paper scales the counts down whenever the sampling rate falls, here each sample is
 * weighted by the references that it stands for, 1 / rate, which comes to the same.
 */

import type { MissRatioCurve } from './curve.ts';
import { DistanceHistogram, missRatioOfParts } from './distance-histogram.ts';
import { HASH_RANGE } from './page-hash.ts';
import { RecencyOrder } from './recency-order.ts';
import { SampledKeys } from './sampled-keys.ts';

/** Keys that are followed unless told otherwise. */
export const SHARDS_SAMPLES = 8192;

/** How a sample is made. */
interface ShardsOptions {
  /** Keys that are followed at most, a power of two. */
  readonly samples?: number;
  /**
   * Equal parts of what is followed that are counted apart, by ranges of the hash; how far they
   * differ says how uncertain the whole is. 1 unless told otherwise.
   */
  readonly classes?: number;
}

/**
 * Follows the keys with the smallest hashes. Memory is about 60 bytes a sample, and 26 KiB for each
 * class.
 */
export class FixedSizeShards implements MissRatioCurve {
  /** References noted, of which those of past epochs count for half, a quarter, and so on. */
  references = 0;
  /** Hashes below are followed. */
  private threshold = HASH_RANGE;
  /** References that a reference of a followed key stands for: 1 / rate. */
  private weight = 1;
  private readonly keys: SampledKeys;
  private readonly order: RecencyOrder;
  /** Of each class. */
  private readonly histograms: readonly DistanceHistogram[];

  constructor(options: ShardsOptions = {}) {
    const { samples = SHARDS_SAMPLES, classes = 1 } = options;
    this.histograms = Array.from({ length: classes }, () => new DistanceHistogram());
    this.keys = new SampledKeys(samples);
    this.order = new RecencyOrder(samples);
  }

  /** The share of the keys that is followed now. */
  get rate(): number {
    return this.threshold / HASH_RANGE;
  }

  /** Distinct keys noted since the start, by estimate. */
  get footprint(): number {
    return this.keys.count * this.weight;
  }

  /**
   * Notes a reference of the key with this u32 hash, which must be well mixed. Allocates nothing;
   * takes constant time for a key that is not followed, else O(log samples).
   */
  note(keyHash: number): void {
    this.references++;
    if (keyHash < this.threshold) this.noteSampled(keyHash);
  }

  /** Weighs all that was noted so far anew: by a half at the end of an epoch, by 0 to forget it. */
  scale(factor: number): void {
    this.references *= factor;
    for (const histogram of this.histograms) histogram.scale(factor);
  }

  /** Uses the key of this hash as `note` does, and counts nothing: it is the most recent now. */
  use(keyHash: number): void {
    if (keyHash < this.threshold) this.moveToFront(keyHash);
  }

  /** The key of this hash leaves caches of every size: its next reference is a miss. */
  drop(keyHash: number): void {
    const slot = keyHash < this.threshold ? this.keys.find(keyHash) : -1;
    if (slot >= 0) this.order.remove(slot);
  }

  /** Follows at most this share of the keys from now on. */
  followAtMost(rate: number): void {
    const { keys, order } = this;
    const threshold = Math.floor(rate * HASH_RANGE);
    if (threshold >= this.threshold) return;
    this.follow(threshold);
    while (keys.count > 0 && keys.largest >= threshold) order.remove(keys.dropLargest());
  }

  missRatioAt(pages: number): number {
    return missRatioOfParts(this.histograms, this.references, pages);
  }

  /** What each class alone says of a cache of `pages` pages. */
  missRatiosAt(pages: number): number[] {
    const references = this.references / this.histograms.length;
    return this.histograms.map((histogram) => histogram.missRatioOf(references, pages));
  }

  /** Keys that are followed now. */
  get sampleCount(): number {
    return this.keys.count;
  }

  private noteSampled(keyHash: number): void {
    const { histograms } = this;
    const histogram = histograms[Math.floor((keyHash / this.threshold) * histograms.length)]!;
    const { weight } = this; // a key that is new may change it for those after it
    const depth = this.moveToFront(keyHash);
    if (depth === 0) histogram.addCold(weight);
    else histogram.add((depth - 1) * weight, weight);
  }

  /** Answers the depth that the key was at, as `RecencyOrder.reference` does. */
  private moveToFront(keyHash: number): number {
    const { keys, order } = this;
    const slot = keys.find(keyHash);
    if (slot >= 0) return order.reference(slot);
    if (keys.isFull) {
      if (keyHash > keys.largest) {
        this.follow(keyHash);
        return 0;
      }
      this.follow(keys.largest);
      order.remove(keys.dropLargest());
    }
    return order.reference(keys.add(keyHash));
  }

  /** From now on only hashes below `threshold` are followed. */
  private follow(threshold: number): void {
    this.threshold = threshold;
    this.weight = HASH_RANGE / threshold;
  }
}
