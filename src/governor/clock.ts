/** Time and turns of the event loop, so that tests need not wait for either. */

import { type Clock, systemClock } from '../lib/clock.ts';

export interface LoopClock extends Clock {
  /** Runs once, when the event loop has looked for I/O; the result keeps it from running. */
  nextTurn(run: () => void): () => void;
}

/** The real one. Its timers do not keep the process alive. */
export const eventLoopClock: LoopClock = {
  ...systemClock,
  nextTurn: (run) => {
    const immediate = setImmediate(run);
    return () => clearImmediate(immediate);
  },
};
