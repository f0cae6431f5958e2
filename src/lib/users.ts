/** Who is using something that somebody else wants to let go of. */

/** Counts uses under way; a use is a promise. */
export class Users {
  #count = 0;
  readonly #onGone: (() => void)[] = [];

  /** Counts the use until it has settled, and passes on what came of it. */
  async during<Answer>(use: Promise<Answer>): Promise<Answer> {
    this.#count++;
    try {
      return await use;
    } finally {
      this.#count--;
      if (this.#count === 0) for (const resolve of this.#onGone.splice(0)) resolve();
    }
  }

  /** Resolves when no use is under way; who calls makes sure that none begins any more. */
  async gone(): Promise<void> {
    if (this.#count === 0) return;
    await new Promise<void>((resolve) => this.#onGone.push(resolve));
  }
}
