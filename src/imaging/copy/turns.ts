/** Beginning in order what is prepared in any order. */

/** Each piece waits for its turn, and passes it on when it has begun. */
export class Turns {
  #next = 0;
  readonly #waiting = new Map<number, () => void>();

  /** Resolves when all pieces before `index` have passed theirs on. */
  wait(index: number): Promise<void> | undefined {
    if (index === this.#next) return undefined;
    return new Promise((resolve) => {
      this.#waiting.set(index, resolve);
    });
  }

  /** To be called once by each, when `wait` has resolved, and after a failure too. */
  pass(): void {
    this.#next++;
    const wake = this.#waiting.get(this.#next);
    this.#waiting.delete(this.#next);
    wake?.();
  }
}
