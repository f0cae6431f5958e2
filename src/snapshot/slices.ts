/** Long work in short slices, so that those who wait for the event loop do not wait for it. */

import { turnOfTheLoop } from '../lib/turn-of-the-loop.ts';

/** Time, and the turns of the event loop; a test brings its own. */
export interface Turns {
  /** Milliseconds on a clock that only grows. */
  now(): number;
  /** Resolves in a later turn of the event loop. */
  next(): Promise<void>;
}

const systemTurns: Turns = {
  now: () => performance.now(),
  next: turnOfTheLoop,
};

/**
 * Work in one turn of the event loop, ms. A reader that comes meanwhile waits so long; an idle loop
 * turns so fast that shorter slices cost nothing.
 */
const SLICE_MS = 0.5;

export class Slices {
  readonly #turns: Turns;
  #startMs: number;

  constructor(turns: Turns = systemTurns) {
    this.#turns = turns;
    this.#startMs = turns.now();
  }

  /** Whether others have had to wait long enough. */
  get isOver(): boolean {
    return this.#turns.now() - this.#startMs >= SLICE_MS;
  }

  /** Lets others run; then the next slice begins. */
  async next(): Promise<void> {
    await this.#turns.next();
    this.#startMs = this.#turns.now();
  }

  /** A slice begins here: others have run, because something else was waited for. */
  restart(): void {
    this.#startMs = this.#turns.now();
  }
}
