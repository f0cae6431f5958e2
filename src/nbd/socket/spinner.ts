/**
 * Staying awake for a moment after the last request. A client that waits for each reply before it
 * asks again pays for a wake-up of this process every time; polling for some microseconds saves it.
 * It is bounded by its budget, stops by itself when nothing comes, and gives up for a while where it
 * does not pay, so that an idle server uses no CPU.
 */

/** After a spin that was in vain, this many bursts of requests pass before another try, at most. */
const BACK_OFF_MAX = 256;

/** A request whose reply waits for a disk is waited for this many times longer, at most. */
const PATIENCE = 4;

/** Of how long replies took, the part that the last one makes up. */
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
  /** When the last request came that no reply has followed yet; 0 when there is none. */
  #askedAt = 0;
  /** From a request to the next reply, of late. */
  #answerSeconds = 0;
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
    const now = this.#now();
    this.#askedAt = now;
    if (this.#isSpinning) this.#hasRequest = true;
    else if (this.#skip > 0) this.#skip--;
    else this.#begin();
    if (this.#isSpinning) this.#deadline = now + this.#patience();
  }

  /** Hears that replies went out, after which the next request is most likely. */
  noteReply(): void {
    const now = this.#now();
    if (this.#askedAt > 0) {
      this.#answerSeconds += (now - this.#askedAt - this.#answerSeconds) * LAST_PART;
      this.#askedAt = 0;
    }
    if (!this.#isSpinning && this.#skip === 0) this.#begin();
    if (this.#isSpinning) this.#deadline = now + this.#budgetSeconds;
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

  /**
   * How long to stay awake for what follows a request, seconds: until its reply, if that has come soon
   * enough of late. To sleep just before that would have cost all of the spin, and the wake-up besides.
   */
  #patience(): number {
    const longest = PATIENCE * this.#budgetSeconds;
    if (this.#answerSeconds > longest) return this.#budgetSeconds;
    return Math.min(longest, Math.max(this.#budgetSeconds, 2 * this.#answerSeconds));
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
