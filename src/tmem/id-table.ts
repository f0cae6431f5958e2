/**
 * A table by pool id. Ids count up and never come again, so that an array by id would grow for
 * ever: this one takes room for the ids there are. A look-up is a mask and a comparison, since ids
 * in sequence do not collide.
 */

const FIRST_SIZE = 8;
const NONE = -1;

export class IdTable<Value> {
  #ids = new Float64Array(FIRST_SIZE).fill(NONE);
  #values: (Value | undefined)[] = new Array(FIRST_SIZE).fill(undefined);
  #mask = FIRST_SIZE - 1;
  #count = 0;

  get size(): number {
    return this.#count;
  }

  /** Entries that there is room for. */
  get capacity(): number {
    return this.#mask + 1;
  }

  get(id: number): Value | undefined {
    const ids = this.#ids;
    let at = id & this.#mask;
    while (ids[at] !== id) {
      if (ids[at] === NONE) return undefined;
      at = (at + 1) & this.#mask;
    }
    return this.#values[at];
  }

  /** The id must be a whole number from 0 on. */
  set(id: number, value: Value): void {
    if (this.get(id) === undefined) {
      if (++this.#count * 2 > this.#mask) this.#resize((this.#mask + 1) * 2);
    }
    this.#place(id, value);
  }

  /** Answers whether it was there. */
  delete(id: number): boolean {
    if (this.get(id) === undefined) return false;
    let at = id & this.#mask;
    while (this.#ids[at] !== id) at = (at + 1) & this.#mask;
    this.#clear(at);
    this.#count--;
    // What was pushed on by a collision moves up, so that no look-up ends before it.
    for (
      let next = (at + 1) & this.#mask;
      this.#ids[next] !== NONE;
      next = (next + 1) & this.#mask
    ) {
      const moved = this.#ids[next]!;
      const value = this.#values[next]!;
      this.#clear(next);
      this.#place(moved, value);
    }
    if (this.#mask >= FIRST_SIZE && this.#count * 8 < this.#mask)
      this.#resize((this.#mask + 1) / 2);
    return true;
  }

  #clear(at: number): void {
    this.#ids[at] = NONE;
    this.#values[at] = undefined;
  }

  #place(id: number, value: Value): void {
    let at = id & this.#mask;
    while (this.#ids[at] !== NONE && this.#ids[at] !== id) at = (at + 1) & this.#mask;
    this.#ids[at] = id;
    this.#values[at] = value;
  }

  #resize(size: number): void {
    const [ids, values] = [this.#ids, this.#values];
    this.#ids = new Float64Array(size).fill(NONE);
    this.#values = new Array(size).fill(undefined);
    this.#mask = size - 1;
    for (const [at, id] of ids.entries()) if (id !== NONE) this.#place(id, values[at]!);
  }
}
