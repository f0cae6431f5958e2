/** Requests that a model test has begun and that have not ended. */

export class RequestsUnderWay {
  readonly #mayFailBy: (cause: unknown) => boolean;
  readonly #works = new Set<Promise<unknown>>();
  #failure: unknown;

  /** `mayFailBy` says whether a request that fails so does what the test wants. */
  constructor(mayFailBy: (cause: unknown) => boolean) {
    this.#mayFailBy = mayFailBy;
  }

  get count(): number {
    return this.#works.size;
  }

  /** `ended` hears whether it went well, when it is under way no more. */
  track(work: Promise<unknown>, ended: (wentWell: boolean) => void = () => undefined): void {
    this.#works.add(work);
    const end = (wentWell: boolean): void => {
      this.#works.delete(work);
      ended(wentWell);
    };
    work.then(
      () => end(true),
      (cause: unknown) => {
        end(false);
        if (!this.#mayFailBy(cause)) this.#failure ??= cause;
      },
    );
  }

  /** Throws the first failure that was not to be. */
  check(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }
}
