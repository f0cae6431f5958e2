/** What a miss-ratio curve is, however it was found. */

/** The miss ratio of a cache as a function of its size. */
export interface MissRatioCurve {
  /** References that the curve speaks of; an estimate of a sample may be fractional. */
  readonly references: number;
  /** The share that misses in a cache of `pages` pages (any number, 0 and more), from 0 to 1. */
  missRatioAt(pages: number): number;
}

/** A miss ratio and how far it may be off. */
export interface MissRatioBand {
  readonly missRatio: number;
  /** Both from 0 to 1, and on their sides of `missRatio`. */
  readonly low: number;
  readonly high: number;
}

/** Student's t for 95 % of both sides and three degrees of freedom: of four classes. */
const T_OF_FOUR = 3.182;

/**
 * The band around `missRatio`, the estimate of a whole sample, by what `classes`, which are four
 * disjoint parts of that sample, say: 95 % if their errors were normal and independent. It is rough,
 * since four values say little of their own spread, but it is wide where the sample is too small.
 * `otherReach` is what else it may be off by, to both sides.
 */
export function bandOf(
  missRatio: number,
  classes: readonly number[],
  otherReach = 0,
): MissRatioBand {
  const reach = Math.hypot(reachOf(classes), otherReach);
  return {
    missRatio,
    low: Math.max(0, missRatio - reach),
    high: Math.min(1, missRatio + reach),
  };
}

/** How far the value of a whole sample may be off by what its four classes say; see `bandOf`. */
export function reachOf(classes: readonly number[]): number {
  const mean = classes.reduce((sum, each) => sum + each, 0) / classes.length;
  const squares = classes.reduce((sum, each) => sum + (each - mean) ** 2, 0);
  const deviation = Math.sqrt(squares / (classes.length - 1));
  return (T_OF_FOUR * deviation) / Math.sqrt(classes.length);
}
