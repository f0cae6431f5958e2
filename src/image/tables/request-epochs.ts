/**
 * Which requests may still touch space that was given up. A request enters before it maps and leaves
 * when its I/O is done; space that is freed gets the epoch of that moment, and may be used again when
 * all requests that entered up to then have left.
 */
export class RequestEpochs {
  #epoch = 0;
  /** Requests under way, by the epoch that they entered in; empty ones are removed. */
  readonly #counts = new Map<number, number>();

  /** The epoch that the request belongs to; give it back to `leave`. */
  enter(): number {
    this.#counts.set(this.#epoch, (this.#counts.get(this.#epoch) ?? 0) + 1);
    return this.#epoch;
  }

  leave(epoch: number): void {
    const count = this.#counts.get(epoch);
    if (count === undefined) throw new Error(`epochs: no request is in ${epoch}`);
    if (count === 1) this.#counts.delete(epoch);
    else this.#counts.set(epoch, count - 1);
  }

  /** Ends the current epoch: the answer stamps space that no later request can find any more. */
  advance(): number {
    return this.#epoch++;
  }

  /** Whether every request that could know of space with that stamp has left. */
  isPast(stamp: number): boolean {
    // Insertion order is epoch order: the first is the oldest.
    for (const epoch of this.#counts.keys()) return epoch > stamp;
    return true;
  }
}
