/**
 * An exact FIFO of departures for simulations, where keys are dense numbers: a ring of keys, and
 * for each key its place in the ring. A ghost that is taken leaves its place behind, to be passed
 * over when the ring comes there.
 */
import { type Ghost, GhostMemory } from './ghost.ts';

const RING_MIN = 1 << 10;

export class ExactGhost implements Ghost {
  private readonly memory: GhostMemory;
  /** By key: how many departures there had been when it left, from 1; 0 is no ghost. */
  private readonly departureOf: Int32Array;
  private ring = new Int32Array(RING_MIN);
  private mask = RING_MIN - 1;
  /** The next departure is this one, less 1; and the oldest one still in the ring. */
  private newest = 0;
  private oldest = 0;
  private count = 0;
  private entries = 0;

  constructor(keyCount: number, memory = new GhostMemory()) {
    this.departureOf = new Int32Array(keyCount);
    this.memory = memory;
  }

  get metadataBytes(): number {
    return (this.departureOf.length + this.ring.length) * 4;
  }

  setEntries(entries: number): void {
    this.entries = entries;
  }

  /**
   * The victim of an insertion is recorded before the new page asks for its own ghost, so there
   * may be one too many until then.
   */
  add(key: number): void {
    if (this.newest - this.oldest > this.mask) this.makeRoom();
    if (this.departureOf[key] === 0) this.count++;
    this.ring[this.newest & this.mask] = key;
    this.newest++;
    this.departureOf[key] = this.newest;
  }

  take(key: number): boolean {
    const isKnown = this.departureOf[key] !== 0;
    if (isKnown) {
      this.departureOf[key] = 0;
      this.count--;
    }
    this.trim();
    return isKnown;
  }

  release(): void {
    this.departureOf.fill(0);
    this.count = 0;
    this.oldest = this.newest;
  }

  private trim(): void {
    while (this.count > this.entries) {
      const key = this.ring[this.oldest & this.mask]!;
      this.oldest++;
      if (this.departureOf[key] !== this.oldest) continue;
      this.departureOf[key] = 0;
      this.count--;
    }
  }

  /** Puts what is still known together, in a ring of twice the room if it is more than half. */
  private makeRoom(): void {
    const { ring, mask, departureOf } = this;
    const next = this.count * 2 > ring.length ? new Int32Array(ring.length * 2) : ring.slice();
    let length = 0;
    for (let departure = this.oldest; departure < this.newest; departure++) {
      const key = ring[departure & mask]!;
      if (departureOf[key] !== departure + 1) continue;
      next[length++] = key;
      departureOf[key] = length;
    }
    this.memory.bytes += (next.length - ring.length) * 4;
    this.ring = next;
    this.mask = next.length - 1;
    this.oldest = 0;
    this.newest = length;
  }
}
