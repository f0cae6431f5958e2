/** Runs of one length on a file, many of them: whether any two lie over each other. */

export class SectorRuns {
  readonly length: number;
  #begins = new Uint32Array(1024);
  #count = 0;
  #isSorted = true;

  /** `length` in sectors, of every run. */
  constructor(length: number) {
    this.length = length;
  }

  get count(): number {
    return this.#count;
  }

  add(begin: number): void {
    if (this.#count === this.#begins.length) {
      const larger = new Uint32Array(2 * this.#count);
      larger.set(this.#begins);
      this.#begins = larger;
    }
    this.#begins[this.#count++] = begin;
    this.#isSorted = false;
  }

  /** All begins in order; valid until the next `add`. */
  sorted(): Uint32Array {
    const begins = this.#begins.subarray(0, this.#count);
    if (!this.#isSorted) begins.sort();
    this.#isSorted = true;
    return begins;
  }

  /** Begins of runs that lie over another; at most `limit` of them. */
  overlapping(limit: number): Set<number> {
    const begins = this.sorted();
    const found = new Set<number>();
    for (let i = 1; i < begins.length && found.size < limit; i++) {
      const before = begins[i - 1] ?? 0;
      const begin = begins[i] ?? 0;
      if (begin - before >= this.length) continue;
      found.add(before);
      found.add(begin);
    }
    return found;
  }

  /** The begin of a run that lies over these sectors. */
  find(begin: number, length: number): number | undefined {
    const begins = this.sorted();
    let low = 0;
    let high = begins.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((begins[middle] ?? 0) + this.length > begin) high = middle;
      else low = middle + 1;
    }
    const found = begins[low];
    return found !== undefined && found < begin + length ? found : undefined;
  }
}
