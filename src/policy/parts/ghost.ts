/**
 * Ghosts: the memory of pages that left the small queue unused. A page that comes back while its
 * ghost is remembered has shown a reuse distance worth a place in the main queue.
 *
 * The table follows the ghost of Yang et al., "FIFO queues are all you need for cache eviction"
 * (SOSP'23), section 4.2: fingerprints with their insertion time in buckets, expired by the number
 * of insertions since instead of by unlinking. Being wrong is cheap: a ghost that is lost or
 * mistaken for another misplaces one page.
 */

/** Remembers the hashes of the last pages that left. */
export interface Ghost {
  /** Bytes of the table in use. */
  readonly metadataBytes: number;
  /** How many of the last departures to remember from now on. */
  setEntries(entries: number): void;
  /** Remembers a page that left. */
  add(keyHash: number): void;
  /** Whether the page left lately; forgets it, since it is about to be resident. */
  take(keyHash: number): boolean;
  /** Forgets all, and gives the memory back. */
  release(): void;
}

/** Words of a set: half a cache line, so a look-up costs one memory access. */
const WAYS = 8;
/** Sets are chosen by hash and fill unevenly; this many words an entry lose few ghosts early. */
const WORDS_PER_ENTRY = 1.25;
/** A table with room for this many times the entries wanted is replaced by a smaller one. */
const SPARSE_PART = 16;
/** A lifespan is at most this many ticks of the 16-bit clock, so that a full turn is far away. */
const TICKS_PER_LIFESPAN = 1 << 14;
const TICK_MASK = 0xffff;

/**
 * The smallest power of two (as a shift) that divides `count` events into no more ticks than a
 * lifespan may have. Counts up to 16,384 are timed exactly.
 */
export function tickShiftFor(count: number): number {
  let shift = 0;
  while (shift < 16 && count >>> shift > TICKS_PER_LIFESPAN) shift++;
  return shift;
}

/** What the ghosts of a family take together. */
export class GhostMemory {
  bytes = 0;
}

/** A set-associative table of 16-bit fingerprints and 16-bit times: five bytes an entry. */
export class GhostTable implements Ghost {
  /** High half the fingerprint (never 0), low half the tick it was added in; 0 is free. */
  private words = new Int32Array(0);
  private readonly memory: GhostMemory;
  private readonly maxEntries: number;
  private readonly tickShift: number;
  private setCount = 0;
  private countedBytes = 0;
  private entries = 0;
  private lifespanTicks = 0;
  /** Departures, less half of those that came back. */
  private clock = 0;
  private takenCount = 0;

  /**
   * `maxEntries` bounds `setEntries`; memory is taken for what is set, at the first departure, and
   * counted from when it is set: then the cache is full, and has room only for what it knew of.
   */
  constructor(maxEntries: number, memory = new GhostMemory()) {
    this.maxEntries = maxEntries;
    this.memory = memory;
    this.tickShift = tickShiftFor(maxEntries);
  }

  get metadataBytes(): number {
    return this.setCount * WAYS * 4;
  }

  setEntries(entries: number): void {
    this.entries = Math.min(entries, this.maxEntries);
    this.lifespanTicks = Math.ceil(this.entries / (1 << this.tickShift));
    this.countBytes();
  }

  release(): void {
    this.setEntries(0);
    this.resize(0);
  }

  add(keyHash: number): void {
    // The table is sized by the first departure: only a full cache knows how many pages fit.
    // Another size moves every key to another set and so forgets the ghosts, which is rare and mild.
    const entriesMax = this.setCount * WAYS;
    if (this.entries > entriesMax || this.entries * SPARSE_PART < entriesMax) {
      this.resize(setCountFor(this.entries));
    }
    if (this.setCount === 0) return;
    const words = this.words;
    const hash = mix(keyHash);
    const start = this.setStart(hash);
    const now = this.clock >>> this.tickShift;
    let oldest = start;
    let oldestAge = -1;
    for (let i = start; i < start + WAYS; i++) {
      const word = words[i]!;
      const age = word === 0 ? TICK_MASK + 1 : (now - word) & TICK_MASK;
      if (age > oldestAge) {
        oldestAge = age;
        oldest = i;
      }
    }
    words[oldest] = (fingerprint(hash) << 16) | (now & TICK_MASK);
    // In an exact FIFO a taken ghost leaves room for the older ones, on average for half of all:
    // two of them let time stand still for one departure.
    if (this.takenCount < 2) this.clock = (this.clock + 1) | 0;
    else this.takenCount -= 2;
  }

  take(keyHash: number): boolean {
    if (this.setCount === 0) return false;
    const words = this.words;
    const hash = mix(keyHash);
    const start = this.setStart(hash);
    const wanted = fingerprint(hash);
    const now = this.clock >>> this.tickShift;
    for (let i = start; i < start + WAYS; i++) {
      const word = words[i]!;
      if (word >>> 16 !== wanted) continue;
      words[i] = 0;
      if (((now - word) & TICK_MASK) > this.lifespanTicks) return false;
      this.takenCount++;
      return true;
    }
    return false;
  }

  /** Takes a table of another size, or keeps this one if memory is short. */
  private resize(setCount: number): void {
    if (setCount === this.setCount) return;
    try {
      this.words = new Int32Array(setCount * WAYS);
    } catch (cause) {
      if (cause instanceof RangeError) return;
      throw cause;
    }
    this.setCount = setCount;
    this.countBytes();
  }

  /** Counts the table that there is, or the larger one that the next departure may take. */
  private countBytes(): void {
    const bytes = Math.max(this.setCount, setCountFor(this.entries)) * WAYS * 4;
    this.memory.bytes += bytes - this.countedBytes;
    this.countedBytes = bytes;
  }

  /** Scales the high bits of the hash to a set, so that any number of sets will do. */
  private setStart(hash: number): number {
    return Math.floor(((hash >>> 0) * this.setCount) / 0x1_0000_0000) * WAYS;
  }
}

function setCountFor(entries: number): number {
  return Math.ceil((entries * WORDS_PER_ENTRY) / WAYS);
}

function fingerprint(hash: number): number {
  return hash & 0xffff || 1;
}

/** The finalizer of MurmurHash3: set and fingerprint must differ even for a poor hash. */
function mix(hash: number): number {
  let h = hash ^ (hash >>> 16);
  h = Math.imul(h, 0x85ebca6b);
  h ^= h >>> 13;
  h = Math.imul(h, 0xc2b2ae35);
  return h ^ (h >>> 16);
}
