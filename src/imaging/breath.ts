/** Pauses of a long loop, in which signals are heard. */

import { turnOfTheLoop } from '../lib/turn-of-the-loop.ts';

/** Steps without a pause; each takes microseconds where all is in memory. */
const STEPS_MAX = 1024;

/** One for each loop. */
export class Breath {
  #steps = 0;

  /** To be awaited in each step: now and then it lets everything else happen. */
  draw(): Promise<void> | undefined {
    if (++this.#steps % STEPS_MAX !== 0) return undefined;
    return turnOfTheLoop();
  }
}
