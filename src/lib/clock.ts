/** Time for those who wait: a clock that only grows, and a way to be called later. */

/** Milliseconds on a clock that only grows, and timers on it; a test turns it by hand. */
export interface Clock {
  now(): number;
  /** Calls `then` once, `ms` from now, unless it is cancelled by calling the result. */
  after(ms: number, then: () => void): () => void;
}

/** The clock of this machine. Its timers keep no process alive. */
export const systemClock: Clock = {
  now: () => performance.now(),
  after: (ms, then) => {
    const timer = setTimeout(then, ms);
    timer.unref();
    return () => clearTimeout(timer);
  },
};
