/** One run of some work for all who ask while the run before it is under way. */

/** Every call is answered by a run that began after the call. */
export class JoinedRuns {
  readonly #work: () => Promise<void>;
  #running: Promise<void> | undefined;
  #next: Promise<void> | undefined;

  constructor(work: () => Promise<void>) {
    this.#work = work;
  }

  run(): Promise<void> {
    // The run before may have ended a moment ago, with the next one not begun yet.
    if (this.#next !== undefined) return this.#next;
    if (this.#running === undefined) return this.#start();
    const startNext = () => this.#startNext();
    this.#next = this.#running.then(startNext, startNext);
    return this.#next;
  }

  #startNext(): Promise<void> {
    this.#next = undefined;
    return this.#start();
  }

  #start(): Promise<void> {
    const running = this.#work().finally(() => {
      if (this.#running === running) this.#running = undefined;
    });
    this.#running = running;
    return running;
  }
}
