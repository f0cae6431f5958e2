/**
 * Places that calls have while they are under way, of which there are so many for all files of the
 * process: the threads of libuv, the requests of the ring. With a disk that hangs one file would have
 * all of them before long, and no other could so much as be synced. So each may have as many as it
 * leaves free, and so may the next one that hangs.
 */

/** As many threads as libuv makes at the most. */
const THREADS_MAX = 1024;

/** One of those who share places. */
interface Sharer {
  /** Whether calls wait for a place. */
  readonly isWaiting: boolean;
  /** Begins the one that has waited longest, if it may; answers whether it did. */
  beginNext(): boolean;
}

export class IoPlaces {
  #freeCount: number;
  readonly #waiting = new Set<Sharer>();

  constructor(count: number) {
    this.#freeCount = count;
  }

  /** From now on there are so many; none may be taken. */
  set count(count: number) {
    this.#freeCount = count;
  }

  /** Whether one who has `count` may take one more. */
  mayTake(count: number): boolean {
    return count < this.#freeCount;
  }

  take(): void {
    this.#freeCount--;
  }

  /** Gives a place back; those who wait have what is free by turns. */
  release(): void {
    this.#freeCount++;
    for (const sharer of this.#waiting) {
      if (!sharer.beginNext()) continue;
      this.#waiting.delete(sharer);
      if (sharer.isWaiting) this.#waiting.add(sharer); // and comes again, behind the others
    }
  }

  /** `sharer` has calls that wait. */
  waitFor(sharer: Sharer): void {
    this.#waiting.add(sharer);
  }
}

/** The threads of libuv; before `shareThreads` there is no bound. */
export const THREADS = new IoPlaces(Number.POSITIVE_INFINITY);

/**
 * From now on the files share that many threads. `wanted` is UV_THREADPOOL_SIZE, read as libuv reads
 * it: the number that it begins with, and none is one.
 */
export function shareThreads(wanted: string): void {
  const count = Number.parseInt(wanted, 10) || 1;
  THREADS.count = count < 0 ? THREADS_MAX : Math.min(count, THREADS_MAX);
}
