/**
 * Calls that take as long as a disk does. Each keeps its connection meanwhile, so only some of those
 * there may be are for them: whoever asks for the health of the service always finds one.
 */

import { Problem } from './problem.ts';

/** Long calls under way at a time; well below the limit of connections. */
const LONG_CALL_COUNT_MAX = 8;

export class LongCalls {
  #count = 0;

  /** Does `work`, or rejects with a Problem while there are too many others. */
  async run<Result>(work: () => Promise<Result>): Promise<Result> {
    if (this.#count >= LONG_CALL_COUNT_MAX) {
      throw new Problem(503, `${LONG_CALL_COUNT_MAX} long calls are under way; try again`, {
        headers: { 'retry-after': '1' },
      });
    }
    this.#count++;
    try {
      return await work();
    } finally {
      this.#count--;
    }
  }
}
