/**
 * S3-FIFO with a correlated-reference window over arrays and maps, written for reading: unit-size
 * pages, an exact ghost, sweeps without limit. What the typed-array policy is compared with.
 */
interface Page {
  readonly key: number;
  hits: number;
  inSmall: boolean;
  stamp: number;
}

export interface ReferenceTuning {
  readonly promoteAtHits: number;
  readonly windowShare: number;
}

export function referenceMisses(
  keys: Iterable<number>,
  capacity: number,
  { promoteAtHits, windowShare }: ReferenceTuning,
): number {
  const smallCapacity = Math.floor(capacity * 0.1);
  const window = Math.floor(smallCapacity * windowShare);
  const pages = new Map<number, Page>();
  const small = new Set<Page>(); // a Set iterates in the order of insertion: a FIFO
  const main = new Set<Page>();
  const ghost = new Set<number>();
  let smallInsertions = 0;
  let misses = 0;

  const evictFromMain = () => {
    for (const page of main) {
      main.delete(page);
      if (page.hits === 0) {
        pages.delete(page.key);
        return;
      }
      page.hits--;
      main.add(page);
    }
  };
  const evict = () => {
    if (main.size > capacity - smallCapacity) {
      evictFromMain();
      return;
    }
    for (const page of small) {
      small.delete(page);
      if (page.hits < promoteAtHits) {
        pages.delete(page.key);
        ghost.add(page.key);
        return;
      }
      page.hits = 0;
      page.inSmall = false;
      main.add(page);
    }
    evictFromMain();
  };

  for (const key of keys) {
    const page = pages.get(key);
    if (page !== undefined) {
      const counts = !page.inSmall || smallInsertions - page.stamp >= window;
      if (counts) page.hits = Math.min(page.hits + 1, 3);
      continue;
    }
    misses++;
    const isKnown = ghost.delete(key);
    if (pages.size === capacity) evict();
    for (const oldest of ghost) {
      if (ghost.size <= Math.floor(capacity * 0.9)) break;
      ghost.delete(oldest);
    }
    if (!isKnown) smallInsertions++;
    const entered = { key, hits: 0, inSmall: !isKnown, stamp: smallInsertions };
    pages.set(key, entered);
    (isKnown ? main : small).add(entered);
  }
  return misses;
}
