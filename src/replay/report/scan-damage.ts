/** What one long scan does to a policy: a stream with a scan in its middle, run beside itself. */

import type { Run, RunResult } from '../engine/run.ts';

/** Pages of the scan for each page of the cache. */
const SCAN_FACTOR = 2;
/** How often each page of a scan is touched: a scan of whole pages, and one of halves. */
export const SCAN_TOUCHES: readonly number[] = [1, 2];

/** The run with a scan in it that is as large as harms a cache of `capacityPages`. */
export function withScan(run: Run, capacityPages: number, touches: number): Run {
  return { ...run, scan: { pages: scanPagesFor(capacityPages), touches } };
}

/** Pages of the scan that a cache of so many is tried with. */
export function scanPagesFor(capacityPages: number): number {
  return capacityPages * SCAN_FACTOR;
}

/** How many more of the stream's own accesses missed, as a share of the capacity. */
export function damageOf(without: RunResult, scanned: RunResult, capacityPages: number): number {
  return (scanned.misses - without.misses) / capacityPages;
}
