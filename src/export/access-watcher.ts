/** Who hears which pages of an export are asked for: the seam of what advises on memory. */

/** Called in the turn of a request; no method may throw, or take more than its pages need. */
export interface AccessWatcher {
  /** A client reads `count` pages from `first`, of which memory does not hold `missing`. */
  noteRead(first: number, count: number, missing: number): void;
  /** A client writes pages that are in memory afterwards. */
  noteWrite(first: number, count: number): void;
  /** A client changes pages that leave memory by that. */
  noteDrop(first: number, count: number): void;
}
