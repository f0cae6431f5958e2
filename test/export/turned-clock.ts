/** A clock that stands still until a test turns it. */

import type { Clock } from '../../src/lib/clock.ts';

export class TurnedClock implements Clock {
  readonly #timers = new Set<{ readonly at: number; readonly then: () => void }>();
  #now = 1000;

  now(): number {
    return this.#now;
  }

  after(ms: number, then: () => void): () => void {
    const timer = { at: this.#now + ms, then };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  /** Milliseconds until the next timer, or undefined when there is none. */
  get nextMs(): number | undefined {
    if (this.#timers.size === 0) return undefined;
    return Math.min(...[...this.#timers].map(({ at }) => at)) - this.#now;
  }

  /** Lets time pass; timers go off in order, each at its time. */
  turn(ms: number): void {
    const end = this.#now + ms;
    for (;;) {
      const due = [...this.#timers].filter(({ at }) => at <= end);
      const next = due.sort((a, b) => a.at - b.at)[0];
      if (next === undefined) break;
      this.#timers.delete(next);
      this.#now = Math.max(this.#now, next.at);
      next.then();
    }
    this.#now = end;
  }
}
