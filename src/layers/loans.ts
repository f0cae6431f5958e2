/**
 * Loans: pages that readers send from where they lie. A lent page is neither moved nor overwritten;
 * when it is dropped meanwhile, its memory is freed when its last reader returns it.
 */

import { NumberTable } from '../lib/number-table.ts';
import type { Slabs } from '../tmem/slabs.ts';

/** A page lent more often at once is copied instead. */
const LOANS_PER_PAGE_MAX = 1000;
const DROPPED = 0x10000;

export class Loans {
  readonly #slabs: Pick<Slabs, 'pin' | 'unpin' | 'free'>;
  /** By location: how often it is lent now, plus DROPPED when its page is gone. */
  readonly #counts = new NumberTable();

  /** Loans of objects in `slabs`. */
  constructor(slabs: Pick<Slabs, 'pin' | 'unpin' | 'free'>) {
    this.#slabs = slabs;
  }

  /** Lends the object at `location` once more; false when it is lent too often already. */
  lend(location: number): boolean {
    const count = this.#counts.get(location);
    if (count >= LOANS_PER_PAGE_MAX) return false;
    this.#counts.set(location, count + 1);
    if (count === 0) this.#slabs.pin(location);
    return true;
  }

  /** Whether the object at `location` is lent now. */
  isLent(location: number): boolean {
    return this.#counts.get(location) > 0;
  }

  /** Frees the object at `location`, at once or when it is no longer lent. */
  free(location: number): void {
    const count = this.#counts.get(location);
    if (count === 0) this.#slabs.free(location);
    else this.#counts.set(location, count | DROPPED);
  }

  /** One loan of the object is over. */
  giveBack(location: number): void {
    const count = this.#counts.get(location);
    if (count === 0) throw new Error('loans: returned a page that is not lent');
    if ((count & (DROPPED - 1)) > 1) {
      this.#counts.set(location, count - 1);
      return;
    }
    this.#counts.delete(location);
    this.#slabs.unpin(location);
    if (count >= DROPPED) this.#slabs.free(location);
  }
}
