/** What a check finds, counted and said. */

import type { CheckFinding } from '../../format.ts';

/** More than these are counted and not said. */
const SAID_MAX = 1000;

export class Findings {
  corruptions = 0;
  leaks = 0;
  errors = 0;
  /**
   * Something that may refer to clusters could not be followed: what seems to be leaked may be the
   * only trace of it, and is not given back.
   */
  isIncomplete = false;
  readonly said: CheckFinding[] = [];

  /**
   * `what` is at `offset`, and `fault` is what it does wrong: the three make a sentence, if it is to
   * be kept. `times` is how often the same is found, through tables that many refer to.
   */
  corruption(what: string, offset: number, fault: string, times = 1): void {
    this.corruptions += times;
    if (this.isHeard) this.#say('corruption', `${what} at ${offset} ${fault}`);
  }

  /** As `corruption`. */
  leak(what: string, offset: number, fault: string): void {
    this.leaks++;
    if (this.isHeard) this.#say('leak', `${what} at ${offset} ${fault}`);
  }

  /** A table could not be read, so that what it refers to is not known. */
  error(message: string): void {
    this.errors++;
    this.isIncomplete = true;
    this.#say('error', message);
  }

  /** Whether another sentence would be kept: making one for nothing is dear. */
  get isHeard(): boolean {
    return this.said.length < SAID_MAX;
  }

  get isClean(): boolean {
    return this.corruptions === 0 && this.leaks === 0 && this.errors === 0;
  }

  #say(kind: CheckFinding['kind'], message: string): void {
    if (this.isHeard) this.said.push({ kind, message, isRepaired: false });
  }
}
