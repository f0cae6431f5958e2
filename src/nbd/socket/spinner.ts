/**
 * Staying awake for a moment after the last request. A client that waits for each reply before it
 * asks again pays for a wake-up of this process every time; polling for some microseconds saves it.
 * It is bounded by its budget, stops by itself when nothing comes, and gives up for a while where it
 * does not pay, so that an idle server uses no CPU.
 */

/** After a spin that was in vain, this many bursts of requests pass before another try, at most. */
const BACK_OFF_MAX = 256;

/** A spin lasts so many budgets at most while a request waits for its image, alone. */
const PATIENCE = 4;

/** And never longer than this, whatever the budget. */
const PATIENCE_SECONDS_MAX = 0.001;

/** Of how long requests wait for an image, the part that the last one makes up. */
const LAST_PART = 1 / 8;

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
  /** Requests that wait for an image, and how long they did of late. */
  #waitingCount = 0;
  #waitSeconds = 0;
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

  /**
   * Hears that a request waits for an image. If it is the only one, and those of late had their answer
   * soon enough, the spin goes on until then: to sleep just before would cost the wake-up besides.
   */
  noteWait(): void {
    this.#waitingCount++;
    if (this.#waitingCount > 1 || !this.#isSpinning) return;
    const longest = Math.min(PATIENCE * this.#budgetSeconds, PATIENCE_SECONDS_MAX);
    if (this.#waitSeconds > longest) return;
    const patience = Math.min(longest, 2 * this.#waitSeconds);
    if (patience > this.#budgetSeconds) this.#deadline = this.#now() + patience;
  }

  /** Hears that a request has waited for so long. */
  noteWaitEnd(seconds: number): void {
    this.#waitingCount--;
    this.#waitSeconds += (seconds - this.#waitSeconds) * LAST_PART;
  }

  /** Hears that replies went out, after which the next request is most likely. */
  noteReply(): void {
    if (!this.#isSpinning && this.#skip === 0) this.#begin();
    if (this.#isSpinning) this.#deadline = this.#now() + this.#budgetSeconds;
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
