/**
 * The syncs of one file. Linux reports lost writes to one fdatasync and forgets them, so after one has
 * failed nothing that was written can be said to be stable any more. Nor do two overlap, of which the
 * other would be told that all is well: whoever asks while one is under way shares the next.
 */
export class Syncs {
  readonly #sync: () => Promise<void>;
  /** Settles when the one under way has ended. */
  #last: Promise<void> = Promise.resolve();
  /** The one that begins after it, for all who ask until then. */
  #next: Promise<void> | undefined;
  #failure: { readonly cause: unknown } | undefined;

  /** `sync` makes what was written before it is called stable. */
  constructor(sync: () => Promise<void>) {
    this.#sync = sync;
  }

  /** Resolves when what was written by now is stable; rejects with what the first that failed did. */
  run(): Promise<void> {
    if (this.#next !== undefined) return this.#next;
    const next = this.#last.then(() => {
      this.#next = undefined; // what is written from now on is for another
      return this.#runNow();
    });
    this.#next = next;
    this.#last = next.catch(() => undefined);
    return next;
  }

  async #runNow(): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure.cause;
    try {
      await this.#sync();
    } catch (cause) {
      this.#failure = { cause };
      throw cause;
    }
  }
}
