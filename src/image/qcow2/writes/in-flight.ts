/**
 * Ranges of the guest's disk whose table entries are about to change. Whoever wants to change one of
 * them waits; everybody else goes on, and no reader ever waits.
 */

/** A range that is held, in clusters of the guest's disk. */
export interface HeldRange {
  readonly first: number;
  readonly end: number;
  /** Resolves when it is given back. */
  readonly released: Promise<void>;
}

interface OwnRange extends HeldRange {
  release(): void;
}

export class InFlight {
  readonly #ranges = new Set<OwnRange>();

  /** A held range that has a cluster in common with these, the one that begins first. */
  find(first: number, end: number): HeldRange | undefined {
    let found: HeldRange | undefined;
    for (const range of this.#ranges) {
      if (range.first >= end || range.end <= first) continue;
      if (found === undefined || range.first < found.first) found = range;
    }
    return found;
  }

  /** Holds clusters that nobody holds; give them back with `end`. */
  begin(first: number, end: number): HeldRange {
    if (this.find(first, end) !== undefined) {
      throw new Error(`qcow2: clusters ${first} to ${end} are held already`);
    }
    let release = () => {};
    const released = new Promise<void>((resolve) => {
      release = resolve;
    });
    const range = { first, end, released, release };
    this.#ranges.add(range);
    return range;
  }

  end(range: HeldRange): void {
    const own = range as OwnRange;
    if (this.#ranges.delete(own)) own.release();
  }
}
