/**
 * A hash table from whole numbers to whole numbers, outside of the heap, for what enters and leaves
 * all the time: a `Map` makes its tables anew then, and they live until the old space is collected.
 * Open addressing with linear probing; Knuth, The Art of Computer Programming, volume 3, 6.4.
 */

/** Places at first; a power of two. */
const FIRST_PLACES = 64;

export class NumberTable {
  #keys = new Float64Array(FIRST_PLACES);
  #values = new Int32Array(FIRST_PLACES); // 0 where the place is empty
  #count = 0;

  get size(): number {
    return this.#count;
  }

  /** The value of a key; 0 if it has none. */
  get(key: number): number {
    return this.#count === 0 ? 0 : this.#values[this.#placeOf(key)]!;
  }

  /** A key is from 0 to 2^53 - 1, a value from 1 to 2^31 - 1. */
  set(key: number, value: number): void {
    const place = this.#placeOf(key);
    const isNew = this.#values[place] === 0;
    this.#keys[place] = key;
    this.#values[place] = value;
    if (isNew && ++this.#count * 2 > this.#values.length) this.#grow();
  }

  delete(key: number): void {
    const [keys, values] = [this.#keys, this.#values];
    const mask = values.length - 1;
    let empty = this.#placeOf(key);
    if (values[empty] === 0) return;
    // What a collision had pushed on moves up, so that no look-up ends before it.
    for (let at = (empty + 1) & mask; values[at] !== 0; at = (at + 1) & mask) {
      const fromHome = (at - this.#homeOf(keys[at]!)) & mask;
      if (fromHome < ((at - empty) & mask)) continue;
      keys[empty] = keys[at]!;
      values[empty] = values[at]!;
      empty = at;
    }
    values[empty] = 0;
    this.#count--;
  }

  /** Where the key is, or else the empty place that it would get. */
  #placeOf(key: number): number {
    const [keys, values] = [this.#keys, this.#values];
    const mask = values.length - 1;
    let place = this.#homeOf(key);
    while (values[place] !== 0 && keys[place] !== key) place = (place + 1) & mask;
    return place;
  }

  /** By the golden ratio, which spreads numbers in a row. */
  #homeOf(key: number): number {
    return (Math.imul(key, 0x9e3779b1) >>> 12) & (this.#values.length - 1);
  }

  #grow(): void {
    const [keys, values] = [this.#keys, this.#values];
    this.#keys = new Float64Array(2 * keys.length);
    this.#values = new Int32Array(2 * values.length);
    for (let at = 0; at < keys.length; at++) {
      if (values[at] === 0) continue;
      const place = this.#placeOf(keys[at]!);
      this.#keys[place] = keys[at]!;
      this.#values[place] = values[at]!;
    }
  }
}
