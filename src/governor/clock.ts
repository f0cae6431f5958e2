/** Time and turns of the event loop, so that tests need not wait for either. */

export interface Clock {
  /** Milliseconds on a clock that only grows. */
  now(): number;
  /** Runs once, so many milliseconds from now; the result keeps it from running. */
  after(delayMs: number, run: () => void): () => void;
  /** Runs once, when the event loop has looked for I/O; the result keeps it from running. */
  nextTurn(run: () => void): () => void;
}

/** The real one. Its timers do not keep the process alive. */
export const eventLoopClock: Clock = {
  now: () => performance.now(),
  after: (delayMs, run) => {
    const timer = setTimeout(run, delayMs).unref();
    return () => clearTimeout(timer);
  },
  nextTurn: (run) => {
    const immediate = setImmediate(run);
    return () => clearImmediate(immediate);
  },
};
