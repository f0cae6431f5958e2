/**
 * How long things took, as a histogram with logarithmic buckets: percentiles to 1 part in 64, in
 * 20 KiB, however many there were.
 */

/** Microseconds. */
export interface Percentiles {
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
  readonly mean: number;
}

/** Buckets for each doubling. */
const STEPS = 64;
/** From 0.1 µs, 40 doublings: 30 hours. */
const UNITS_PER_US = 10;
const DOUBLINGS = 40;

export class Latencies {
  count = 0;
  #sumUs = 0;
  #maxUs = 0;
  readonly #buckets = new Float64Array(STEPS * DOUBLINGS);

  record(us: number): void {
    const units = Math.max(1, us * UNITS_PER_US);
    const bucket = Math.min(this.#buckets.length - 1, Math.floor(Math.log2(units) * STEPS));
    this.#buckets[bucket]!++;
    this.count++;
    this.#sumUs += us;
    if (us > this.#maxUs) this.#maxUs = us;
  }

  /** All 0 where there was nothing. */
  percentiles(): Percentiles {
    return {
      p50: this.#at(0.5),
      p90: this.#at(0.9),
      p99: this.#at(0.99),
      p999: this.#at(0.999),
      max: rounded(this.#maxUs),
      mean: this.count === 0 ? 0 : rounded(this.#sumUs / this.count),
    };
  }

  /** The upper end of the bucket in which that share of all is reached. */
  #at(share: number): number {
    const wanted = Math.ceil(this.count * share);
    if (wanted === 0) return 0;
    let seen = 0;
    for (let bucket = 0; bucket < this.#buckets.length; bucket++) {
      seen += this.#buckets[bucket]!;
      const end = 2 ** ((bucket + 1) / STEPS) / UNITS_PER_US;
      if (seen >= wanted) return rounded(Math.min(end, this.#maxUs));
    }
    return rounded(this.#maxUs);
  }
}

function rounded(us: number): number {
  return Math.round(us * UNITS_PER_US) / UNITS_PER_US;
}
