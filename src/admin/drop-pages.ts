/** Dropping all pages of a pool, however many, while others go on. */

import type { Pool } from '../tmem/tmem.ts';

/** Pages dropped in one turn of the event loop: well under 2 ms of work. */
const SLICE_PAGES = 512;

/**
 * Drops the pages that the pool has now; answers how many went. What comes meanwhile may stay. The
 * pool must not be destroyed before this resolves.
 */
export async function dropPages(pool: Pool): Promise<number> {
  let droppedPages = 0;
  let left = SLICE_PAGES;
  // The names are taken at once: a pool that fills as fast as this empties it has an end all the same.
  for (const object of new Set(pool.objects())) {
    for (const index of pool.indexesOf(object)) {
      if (pool.flushPage(object, index)) droppedPages++;
      if (--left > 0) continue;
      left = SLICE_PAGES;
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
  return droppedPages;
}
