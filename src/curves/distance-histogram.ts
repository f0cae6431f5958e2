/**
 * Weighted stack distances in a bounded number of buckets: narrow ones for short distances, and
 * for longer ones a fixed share of the distance (128 buckets for each doubling, so 0.8 %).
 */

const BUCKETS_PER_OCTAVE_SHIFT = 7;
const BUCKETS_PER_OCTAVE = 1 << BUCKETS_PER_OCTAVE_SHIFT;
/** Distances up to here have a bucket each. */
const EXACT_MAX = BUCKETS_PER_OCTAVE * 2;
/** Octaves beyond the exact ones: distances up to 2^32 pages. */
const OCTAVES = 24;
const BUCKETS = EXACT_MAX + OCTAVES * BUCKETS_PER_OCTAVE;

/** The bucket of a distance in pages, which is a real number: samples are scaled. */
function bucketOf(distance: number): number {
  const whole = Math.floor(distance);
  if (whole < EXACT_MAX) return Math.max(0, whole);
  const shift = Math.min(OCTAVES, 31 - Math.clz32(Math.min(whole, 0xffff_ffff)) - 7);
  const mantissa = Math.min(Math.floor(whole / 2 ** shift), 2 * BUCKETS_PER_OCTAVE - 1);
  return EXACT_MAX + (shift - 1) * BUCKETS_PER_OCTAVE + mantissa - BUCKETS_PER_OCTAVE;
}

/** The shortest distance of a bucket. */
function startOf(bucket: number): number {
  if (bucket < EXACT_MAX) return bucket;
  const shift = ((bucket - EXACT_MAX) >> BUCKETS_PER_OCTAVE_SHIFT) + 1;
  const mantissa = ((bucket - EXACT_MAX) & (BUCKETS_PER_OCTAVE - 1)) + BUCKETS_PER_OCTAVE;
  return mantissa * 2 ** shift;
}

/** 26 KiB, twice that once it was asked; `add` allocates nothing and takes constant time. */
export class DistanceHistogram {
  /** The sum of all weights, those of infinite distances included. */
  total = 0;
  private readonly weights = new Float64Array(BUCKETS);
  /** What lies in the buckets before each; made when it is asked for, and not kept by changes. */
  private sums: Float64Array | undefined;

  /** Counts `weight` references at `distance` pages, from 0 (the front of the stack). */
  add(distance: number, weight: number): void {
    const bucket = bucketOf(distance);
    this.weights[bucket] = this.weights[bucket]! + weight;
    this.total += weight;
    this.sums = undefined;
  }

  /** Counts `weight` references of pages that were never seen before. */
  addCold(weight: number): void {
    this.total += weight;
  }

  /** Multiplies everything by `factor`. */
  scale(factor: number): void {
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      this.weights[bucket] = this.weights[bucket]! * factor;
    }
    this.total *= factor;
    this.sums = undefined;
  }

  private sumUp(): Float64Array {
    const sums = new Float64Array(BUCKETS);
    let sum = 0;
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      sums[bucket] = sum;
      sum += this.weights[bucket]!;
    }
    return sums;
  }

  /** The weight of distances below `pages`; within a bucket it grows evenly. */
  weightBelow(pages: number): number {
    if (!(pages > 0)) return 0;
    this.sums ??= this.sumUp();
    const last = bucketOf(pages);
    const sum = this.sums[last]!;
    const start = startOf(last);
    const part = (pages - start) / (startOf(last + 1) - start);
    return sum + this.weights[last]! * Math.min(1, part);
  }

  /** As `missRatioOfParts`, of this alone. */
  missRatioOf(references: number, pages: number): number {
    return missRatioOfParts([this], references, pages);
  }
}

/**
 * The miss ratio of an LRU cache of `pages` pages, if these together are a sample of `references`.
 * What the sample has too few or too many of, against what its rate promises, is put down to the
 * shortest distance: it is the most popular pages that fall into a sample or not, and those hit in
 * a cache of any size ("SHARDS-adj").
 */
export function missRatioOfParts(
  parts: readonly DistanceHistogram[],
  references: number,
  pages: number,
): number {
  if (references === 0) return 0;
  if (pages <= 0) return 1;
  let hits = references;
  for (const part of parts) hits += part.weightBelow(pages) - part.total;
  return Math.min(1, Math.max(0, 1 - hits / references));
}
