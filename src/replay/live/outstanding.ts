/** Requests of one connection that are not answered yet, in slots of typed arrays. */

/** Slots by number; a free one is taken for a request and given back with its answer. */
export class Outstanding {
  readonly op: Uint8Array;
  readonly offset: Float64Array;
  readonly length: Uint32Array;
  /** When it was sent, milliseconds. */
  readonly sentMs: Float64Array;
  /** Of a read: bytes that came so far. */
  readonly received: Uint32Array;
  /** Chunks that came so far. */
  readonly chunks: Uint32Array;
  /** The first error of its reply; 0 for none. */
  readonly errno: Uint32Array;
  /** High half of the cookie: a late answer to a slot's last request is none to this one. */
  readonly generation: Uint32Array;
  readonly #isUsed: Uint8Array;
  readonly #free: Int32Array;
  #freeCount: number;

  constructor(depth: number) {
    this.op = new Uint8Array(depth);
    this.offset = new Float64Array(depth);
    this.length = new Uint32Array(depth);
    this.sentMs = new Float64Array(depth);
    this.received = new Uint32Array(depth);
    this.chunks = new Uint32Array(depth);
    this.errno = new Uint32Array(depth);
    this.generation = new Uint32Array(depth);
    this.#isUsed = new Uint8Array(depth);
    this.#free = Int32Array.from({ length: depth }, (_, i) => depth - 1 - i);
    this.#freeCount = depth;
  }

  get count(): number {
    return this.#free.length - this.#freeCount;
  }

  get hasRoom(): boolean {
    return this.#freeCount > 0;
  }

  /** A slot for a request; there must be room. */
  take(op: number, offset: number, length: number): number {
    const slot = this.#free[--this.#freeCount]!;
    this.op[slot] = op;
    this.offset[slot] = offset;
    this.length[slot] = length;
    this.received[slot] = 0;
    this.chunks[slot] = 0;
    this.errno[slot] = 0;
    this.generation[slot]!++;
    this.#isUsed[slot] = 1;
    return slot;
  }

  /** The slot of a cookie; -1 if no such request is under way. */
  slotOf(high: number, low: number): number {
    const isKnown = this.#isUsed[low] === 1 && this.generation[low] === high;
    return isKnown ? low : -1;
  }

  free(slot: number): void {
    this.#isUsed[slot] = 0;
    this.#free[this.#freeCount++] = slot;
  }
}
