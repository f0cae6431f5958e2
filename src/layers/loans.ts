/**
 * Loans: pages that readers send from where they lie. A lent page is neither moved nor overwritten;
 * when it is dropped meanwhile, its memory is freed when its last reader returns it.
 *
 * What is lent is in a hash table with open addressing, outside of the heap: a `Map` that pages enter
 * and leave all the time makes tables anew all the time, which live until the old space is collected.
 */

import type { Slabs } from '../tmem/slabs.ts';

/** A page lent more often at once is copied instead. */
const LOANS_PER_PAGE_MAX = 1000;
const DROPPED = 0x10000;
/** Places of the table at first; a power of two. */
const FIRST_PLACES = 1024;

export class Loans {
  readonly #slabs: Pick<Slabs, 'pin' | 'unpin' | 'free'>;
  #locations = new Uint32Array(FIRST_PLACES);
  /** How often it is lent now, plus DROPPED when its page is gone; 0 where the place is empty. */
  #counts = new Int32Array(FIRST_PLACES);
  #lentCount = 0;

  /** Loans of objects in `slabs`. */
  constructor(slabs: Pick<Slabs, 'pin' | 'unpin' | 'free'>) {
    this.#slabs = slabs;
  }

  /** Lends the object at `location` once more; false when it is lent too often already. */
  lend(location: number): boolean {
    const place = this.#placeOf(location);
    const count = this.#counts[place]!;
    if (count >= LOANS_PER_PAGE_MAX) return false;
    this.#locations[place] = location;
    this.#counts[place] = count + 1;
    if (count > 0) return true;
    this.#slabs.pin(location);
    if (++this.#lentCount * 2 > this.#counts.length) this.#grow();
    return true;
  }

  /** Whether the object at `location` is lent now. */
  isLent(location: number): boolean {
    return this.#lentCount > 0 && this.#counts[this.#placeOf(location)] !== 0;
  }

  /** Frees the object at `location`, at once or when it is no longer lent. */
  free(location: number): void {
    if (this.isLent(location)) this.#counts[this.#placeOf(location)]! |= DROPPED;
    else this.#slabs.free(location);
  }

  /** One loan of the object is over. */
  giveBack(location: number): void {
    const place = this.#placeOf(location);
    const count = this.#counts[place]!;
    if (count === 0) throw new Error('loans: returned a page that is not lent');
    if ((count & (DROPPED - 1)) > 1) {
      this.#counts[place] = count - 1;
      return;
    }
    this.#empty(place);
    this.#slabs.unpin(location);
    if (count >= DROPPED) this.#slabs.free(location);
  }

  /** Where the location is, or else the empty place that it would get. */
  #placeOf(location: number): number {
    const [locations, counts] = [this.#locations, this.#counts];
    let place = this.#homeOf(location);
    while (counts[place] !== 0 && locations[place] !== location) place = this.#after(place);
    return place;
  }

  #homeOf(location: number): number {
    return (Math.imul(location, 0x9e3779b1) >>> 12) & (this.#counts.length - 1);
  }

  #after(place: number): number {
    return (place + 1) & (this.#counts.length - 1);
  }

  /** What a collision had pushed on moves up, so that no look-up ends before it. */
  #empty(place: number): void {
    const [locations, counts] = [this.#locations, this.#counts];
    const mask = counts.length - 1;
    let empty = place;
    for (let at = this.#after(place); counts[at] !== 0; at = this.#after(at)) {
      const fromHome = (at - this.#homeOf(locations[at]!)) & mask;
      if (fromHome < ((at - empty) & mask)) continue;
      locations[empty] = locations[at]!;
      counts[empty] = counts[at]!;
      empty = at;
    }
    counts[empty] = 0;
    this.#lentCount--;
  }

  #grow(): void {
    const [locations, counts] = [this.#locations, this.#counts];
    this.#locations = new Uint32Array(2 * locations.length);
    this.#counts = new Int32Array(2 * counts.length);
    for (const [place, count] of counts.entries()) {
      if (count === 0) continue;
      const to = this.#placeOf(locations[place]!);
      this.#locations[to] = locations[place]!;
      this.#counts[to] = count;
    }
  }
}
