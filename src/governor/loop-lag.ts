/**
 * How late the event loop runs what is due. Measuring needs a timer that fires often, so it is done
 * only while the loop is busy: an idle process sleeps.
 */

import { type IntervalHistogram, monitorEventLoopDelay } from 'node:perf_hooks';

/** A sample every so many milliseconds, while the loop is busy. */
const RESOLUTION_MS = 20;
/** Below this share of busy time nothing is late often enough to be its 99th percentile. */
const BUSY_SHARE_MIN = 0.1;
const NS_PER_MS = 1e6;

/** A sample, nanoseconds from one firing to the next, is the resolution and what it was late by. */
export function lagMsOf(sampleNs: number): number {
  return Math.max(0, sampleNs / NS_PER_MS - RESOLUTION_MS);
}

export class LoopLag {
  readonly #histogram: IntervalHistogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  #isSampling = false;
  #utilization = performance.eventLoopUtilization();

  /** The 99th percentile since the last call, milliseconds; 0 while the loop is idle. */
  read(): number {
    const now = performance.eventLoopUtilization();
    const { utilization } = performance.eventLoopUtilization(now, this.#utilization);
    this.#utilization = now;
    const lagMs = this.#isSampling ? lagMsOf(this.#histogram.percentile(99)) : 0;
    this.#histogram.reset();
    this.#sample(utilization >= BUSY_SHARE_MIN);
    return lagMs;
  }

  /** Ends the sampling; `read` begins it again when the loop is busy. */
  stop(): void {
    this.#sample(false);
  }

  #sample(isWanted: boolean): void {
    if (isWanted === this.#isSampling) return;
    this.#isSampling = isWanted;
    if (isWanted) this.#histogram.enable();
    else this.#histogram.disable();
  }
}
