/** Numbers that look random and are the same again for the same seed. */

export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = Math.imul(seed, 0x9e37_79b1) ^ 0x746d_656d || 1;
  }

  /** xorshift32: 1 to 2^32 - 1. */
  next(): number {
    let state = this.#state;
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    this.#state = state;
    return state >>> 0;
  }

  /** A whole number from 0 to `count - 1`. */
  below(count: number): number {
    return Math.floor((this.next() / 2 ** 32) * count);
  }

  /** True this often. */
  chance(share: number): boolean {
    return this.next() / 2 ** 32 < share;
  }

  /** A whole number from 1 to `max`; every order of magnitude is as frequent as the next. */
  logarithmic(max: number): number {
    return Math.min(max, Math.floor(Math.exp((this.next() / 2 ** 32) * Math.log(max + 1))));
  }

  pick<Item>(items: readonly Item[]): Item {
    const item = items[this.below(items.length)];
    if (item === undefined) throw new RangeError('there is nothing to pick from');
    return item;
  }
}
