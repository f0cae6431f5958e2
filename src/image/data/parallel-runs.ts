/** The runs of one request under way at once: few enough to be bounded, and none is left behind. */

/** Runs of one request that proceed at once. */
const RUN_COUNT_MAX = 8;

export class ParallelRuns {
  readonly #running = new Set<Promise<void>>();
  #failure: { readonly cause: unknown } | undefined;

  /** Whether a run has failed: then no other needs to begin. */
  get hasFailed(): boolean {
    return this.#failure !== undefined;
  }

  /** Takes a run that has begun, and waits only while there are as many as there may be. */
  add(run: Promise<void>): Promise<void> | undefined {
    const ended = run
      .catch((cause: unknown) => {
        this.#failure ??= { cause };
      })
      .finally(() => this.#running.delete(ended));
    this.#running.add(ended);
    return this.#running.size < RUN_COUNT_MAX ? undefined : Promise.race(this.#running);
  }

  /** Resolves when all have ended; rejects with the first failure, then too. */
  async end(): Promise<void> {
    await Promise.all(this.#running);
    if (this.#failure !== undefined) throw this.#failure.cause;
  }

  /** As `end`, of a request that has failed for another reason: no buffer may be in use after it. */
  async endFailed(cause: unknown): Promise<never> {
    await Promise.all(this.#running);
    throw this.#failure === undefined ? cause : this.#failure.cause;
  }
}
