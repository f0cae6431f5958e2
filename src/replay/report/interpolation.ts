/** The miss ratio of a policy between the sizes that were simulated. */

import type { CurvePoint } from './report.ts';

/**
 * The miss ratio at any size, by a straight line between the points around it. Before the first
 * point the line begins at 1 for no cache; after the last it stays.
 */
export function interpolated(points: readonly CurvePoint[], pages: number): number {
  let before: CurvePoint = { pages: 0, missRatio: 1 };
  for (const point of points) {
    if (point.pages >= pages) {
      const span = point.pages - before.pages;
      const part = span === 0 ? 1 : (pages - before.pages) / span;
      return before.missRatio + (point.missRatio - before.missRatio) * part;
    }
    before = point;
  }
  return before.missRatio;
}
