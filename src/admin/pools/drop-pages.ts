/** Dropping all pages of a pool, however many, while others go on. */

import { turnOfTheLoop } from '../../lib/turn-of-the-loop.ts';
import type { Pool } from '../../tmem/pool.ts';

/** Pages dropped in one turn of the event loop: about 1 ms of work. */
const SLICE_PAGES = 256;

/**
 * Drops the pages of those objects of the pool, or of all it has; answers how many went. What comes or
 * moves meanwhile may stay. The pool must not be destroyed before this resolves.
 */
export async function dropPages(
  pool: Pool,
  objects: Iterable<number> = pool.objects(),
): Promise<number> {
  let droppedPages = 0;
  let left = SLICE_PAGES;
  // As many as there can be now: a pool that fills as fast as this empties it is left all the same.
  let objectsLeft = pool.usage.pages;
  for (const object of objects) {
    if (objectsLeft-- === 0) break;
    for (const index of pool.indexesOf(object)) {
      if (pool.flushPage(object, index)) droppedPages++;
      if (--left > 0) continue;
      left = SLICE_PAGES;
      await turnOfTheLoop();
    }
  }
  return droppedPages;
}
