/**
 * Staying awake for a moment after the last request. A client that waits for each reply before it
 * asks again pays for a wake-up of this process every time; polling for some microseconds saves it.
 * It is bounded by its budget, stops by itself when nothing comes, and gives up for a while where it
 * does not pay, so that an idle server uses no CPU.
 */

/** After a spin that was in vain, this many bursts of requests pass before another try, at most. */
const BACK_OFF_MAX = 256;

/** So many are asked in every turn at most; those beyond are left to the poll set. */
const POLLERS_MAX = 16;

/** Who has something to look at in every turn of a spin. */
export interface Poller {
  poll(): void;
  /** The spin is over: it must be woken by other means from now on. */
  leave(): void;
}

export class Spinner {
  /** Spins that ended with a request, and those that ended without. */
  paid = 0;
  inVain = 0;
  readonly #budgetSeconds: number;
  readonly #now: () => number;
  readonly #pollers: Poller[] = [];
  #deadline = 0;
  #isSpinning = false;
  #hasRequest = false;
  #backOff = 1;
  #skip = 0;

  /** `budgetMicroseconds` 0 switches it off; `now` answers seconds on a clock that only grows. */
  constructor(budgetMicroseconds: number, now: () => number) {
    this.#budgetSeconds = budgetMicroseconds / 1e6;
    this.#now = now;
  }

  /** Hears that requests came just now. */
  note(): void {
    if (this.#isSpinning) this.#hasRequest = true;
    else if (this.#skip > 0) this.#skip--;
    else this.#begin();
    if (this.#isSpinning) this.#deadline = this.#now() + this.#budgetSeconds;
  }

  /** Hears that replies went out, after which the next request is most likely. */
  noteReply(): void {
    if (this.#isSpinning) this.#deadline = this.#now() + this.#budgetSeconds;
    else if (this.#skip === 0) this.#begin();
  }

  /** Has `poller` look in every turn until it is told to leave; no when there is no spin, or no place. */
  join(poller: Poller): boolean {
    if (!this.#isSpinning || this.#pollers.length >= POLLERS_MAX) return false;
    this.#pollers.push(poller);
    return true;
  }

  /** Gives the place of `poller` to others. */
  forget(poller: Poller): void {
    const at = this.#pollers.indexOf(poller);
    if (at !== -1) this.#pollers.splice(at, 1);
  }

  /** Ends the spin that runs, if one does. */
  stop(): void {
    this.#deadline = 0;
  }

  #begin(): void {
    if (this.#budgetSeconds === 0) return;
    this.#isSpinning = true;
    this.#hasRequest = false;
    this.#deadline = this.#now() + this.#budgetSeconds;
    setImmediate(this.#turn);
  }

  /** One turn of the event loop: it polls for requests without sleeping while this is pending. */
  readonly #turn = (): void => {
    // From the last: one that is forgotten meanwhile moves none that is yet to look.
    for (let i = this.#pollers.length - 1; i >= 0; i--) this.#pollers[i]?.poll();
    if (this.#now() < this.#deadline) {
      setImmediate(this.#turn);
      return;
    }
    this.#isSpinning = false;
    for (const poller of this.#pollers.splice(0)) poller.leave();
    if (this.#hasRequest) {
      this.paid++;
      this.#backOff = 1;
      return;
    }
    this.inVain++;
    this.#backOff = Math.min(BACK_OFF_MAX, this.#backOff * 2);
    this.#skip = this.#backOff;
  };
}
