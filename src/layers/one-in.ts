/** A choice that comes out yes one time in so many, cheaply and the same in every run. */
export class OneIn {
  readonly #count: number;
  #state = 0x2545f491;

  /** Yes one time in `count`; 0 means never. */
  constructor(count: number) {
    this.#count = count;
  }

  /** The next choice. Source: Marsaglia, "Xorshift RNGs" (2003). */
  next(): boolean {
    if (this.#count === 0) return false;
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x;
    return (x >>> 0) % this.#count === 0;
  }
}
