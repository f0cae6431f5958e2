/**
 * Ranges of pages that one request at a time may change in steps: a write that must first read what
 * it does not cover, one that goes to the image itself, a trim. Reads take no lock. Those who wait
 * are served in the order they came; nobody overtakes one that waits for the same page.
 *
 * There are never more than requests in flight, so the lists are searched from end to end.
 */

/** A range that is held, or waited for. */
export interface PageLock {
  readonly first: number;
  readonly count: number;
}

interface Waiting {
  readonly lock: PageLock;
  readonly grant: () => void;
}

export class PageLocks {
  readonly #held = new Set<PageLock>();
  #waiting: Waiting[] = [];
  readonly #released: () => void;

  /** `released` hears of every range that is given back. */
  constructor(released: () => void = () => undefined) {
    this.#released = released;
  }

  /** Whether nobody holds a page of the range or waits for one. */
  isFree(first: number, count: number): boolean {
    if (this.#held.size === 0) return true; // then nobody waits either
    for (const lock of this.#held) if (overlaps(lock, first, count)) return false;
    for (const { lock } of this.#waiting) if (overlaps(lock, first, count)) return false;
    return true;
  }

  /** Whether somebody holds the page. */
  isHeld(page: number): boolean {
    if (this.#held.size === 0) return false;
    for (const lock of this.#held) if (overlaps(lock, page, 1)) return true;
    return false;
  }

  /** Takes a range that is free; it is the caller's, who gives it back with `release`. */
  take(first: number, count: number): PageLock {
    const lock = { first, count };
    this.#held.add(lock);
    return lock;
  }

  /** The same of any range; resolves when it is the caller's. */
  async acquire(first: number, count: number): Promise<PageLock> {
    if (this.isFree(first, count)) return this.take(first, count);
    const lock = { first, count };
    await new Promise<void>((grant) => this.#waiting.push({ lock, grant }));
    return lock;
  }

  release(lock: PageLock): void {
    this.#held.delete(lock);
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const each of waiting) {
      if (this.isFree(each.lock.first, each.lock.count)) {
        this.#held.add(each.lock);
        each.grant();
      } else {
        this.#waiting.push(each);
      }
    }
    this.#released();
  }
}

function overlaps(lock: PageLock, first: number, count: number): boolean {
  return lock.first < first + count && first < lock.first + lock.count;
}
