/** Time as a command that repeats itself sees it, so that a test can put its own in the place. */

import { setTimeout } from 'node:timers/promises';

export interface Clock {
  /** Milliseconds on a clock that only goes forward. */
  nowMs(): number;
  /** Resolves after `ms`, or as soon as `signal` is aborted. */
  pause(ms: number, signal: AbortSignal): Promise<void>;
}

/** The machine's clock. */
export const systemClock: Clock = {
  nowMs: () => performance.now(),
  pause: (ms, signal) => setTimeout(ms, undefined, { signal }).catch(() => undefined),
};
