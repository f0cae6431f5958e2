/** Which units of an image are being allocated: whoever wants the same one waits. */

/** A unit is in flight from its allocation until that is committed or aborted. */
export class UnitsInFlight {
  readonly #runs = new Map<number, InFlightRun>();

  /** Resolves when the unit is free for the next who asks; undefined when it is free now. */
  waitFor(unit: number): Promise<void> | undefined {
    return this.#runs.get(unit)?.done;
  }

  has(unit: number): boolean {
    return this.#runs.has(unit);
  }

  /** Takes `count` free units; the result gives them back, once. */
  take(unit: number, count: number): () => void {
    const run = new InFlightRun();
    for (let at = unit; at < unit + count; at++) {
      if (this.#runs.has(at)) throw new Error(`units: ${at} is in flight already`);
      this.#runs.set(at, run);
    }
    return () => {
      for (let at = unit; at < unit + count; at++) this.#runs.delete(at);
      run.finish();
    };
  }
}

class InFlightRun {
  readonly done: Promise<void>;
  finish: () => void = () => undefined;

  constructor() {
    this.done = new Promise((resolve) => {
      this.finish = resolve;
    });
  }
}
