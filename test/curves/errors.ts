/** How far two miss-ratio curves are from each other. */

import type { MissRatioCurve } from '../../src/curves/curve.ts';

/** The mean of the absolute differences of two curves at `sizes` pages. */
export function meanAbsoluteError(
  one: MissRatioCurve,
  other: MissRatioCurve,
  sizes: readonly number[],
): number {
  const sum = sizes.reduce(
    (total, pages) => total + Math.abs(one.missRatioAt(pages) - other.missRatioAt(pages)),
    0,
  );
  return sum / sizes.length;
}

/** `count` sizes that divide the way to `pagesMax` evenly, the last one being `pagesMax`. */
export function evenSizes(pagesMax: number, count: number): number[] {
  return Array.from({ length: count }, (_, index) => (pagesMax * (index + 1)) / count);
}
