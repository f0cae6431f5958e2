/**
 * How many different pages there were, in constant memory: exactly up to 65,536, then from those
 * whose hash is below a threshold that is halved whenever they are too many (adaptive sampling,
 * Flajolet, Computing 1990); the standard error is about half a per cent.
 */

const ENTRIES_MAX = 65_536;
const SLOTS = ENTRIES_MAX * 2;
const TWO_32 = 2 ** 32;

function mix(value: number): number {
  let hash = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return hash ^ (hash >>> 16);
}

/** Counts the different ones of the pages it is told of; takes 1 MiB, however many they are. */
export class DistinctEstimate {
  /** Two hashes of 32 bits for each page: the first decides, both are compared. */
  #first = new Uint32Array(SLOTS);
  #second = new Uint32Array(SLOTS);
  #entries = 0;
  #threshold = TWO_32;

  /** Whether `estimate` is the exact count. */
  get isExact(): boolean {
    return this.#threshold === TWO_32;
  }

  get estimate(): number {
    return Math.round(this.#entries * (TWO_32 / this.#threshold));
  }

  /** Counts a page, a whole number below 2^53, of a volume. */
  add(volume: number, page: number): void {
    const high = Math.floor(page / TWO_32) + Math.imul(volume, 0x10001);
    const low = page | 0;
    const first = mix(low ^ mix(high + 0x9e3779b9)) >>> 0;
    if (first >= this.#threshold) return;
    // Zero stands for a free slot.
    const second = (mix(high ^ mix(low + 0x7f4a7c15)) | 1) >>> 0;
    if (!this.#insert(first, second)) return;
    this.#entries++;
    if (this.#entries === ENTRIES_MAX) this.#halve();
  }

  #insert(first: number, second: number): boolean {
    let slot = second % SLOTS;
    while (this.#second[slot] !== 0) {
      if (this.#first[slot] === first && this.#second[slot] === second) return false;
      slot = (slot + 1) % SLOTS;
    }
    this.#first[slot] = first;
    this.#second[slot] = second;
    return true;
  }

  #halve(): void {
    const [first, second] = [this.#first, this.#second];
    this.#first = new Uint32Array(SLOTS);
    this.#second = new Uint32Array(SLOTS);
    this.#threshold /= 2;
    this.#entries = 0;
    for (let slot = 0; slot < SLOTS; slot++) {
      if (second[slot] === 0 || first[slot]! >= this.#threshold) continue;
      this.#insert(first[slot]!, second[slot]!);
      this.#entries++;
    }
  }
}
