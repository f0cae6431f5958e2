/**
 * Pages on their way between a request and a pool, many at a time: in slices, so that the guests
 * whose disks this process serves do not wait behind a long request. Between two slices anything can
 * happen to the pool; whoever uses one object in two calls at once gets either's pages, as with any
 * transcendent memory.
 */

import { turnOfTheLoop } from '../../lib/turn-of-the-loop.ts';
import { isRefused, MISS, PUT_OUTCOME_NAMES, type PutOutcome } from '../../tmem/layer.ts';
import { Problem } from '../http/problem.ts';
import { type ClientPool, type ClientPools, unknownPool } from './client-pools.ts';

/** The most that one call carries in pages, bytes. */
export const CALL_BYTES_MAX = 4 * 1024 * 1024;
/** Bytes of pages that are moved in one turn of the event loop. */
const SLICE_BYTES = 128 * 1024;

/** Lets others come between after every so many pages. */
export class Slices {
  readonly #view: ClientPool;
  readonly #pagesMax: number;
  #pages = 0;

  constructor(view: ClientPool) {
    this.#view = view;
    this.#pagesMax = Math.max(1, SLICE_BYTES / view.pool.pageBytes);
  }

  /** Whether it is time to await `turn`. */
  get isDue(): boolean {
    return this.#pages >= this.#pagesMax;
  }

  count(): void {
    this.#pages++;
  }

  /** Rejects with a Problem when the pool is gone afterwards. */
  async turn(): Promise<void> {
    this.#pages = 0;
    await turnOfTheLoop();
    if (!this.#view.isOpen) throw unknownPool(this.#view.pool.id);
  }
}

/** What a refused put is answered with. */
export function refusal(outcome: PutOutcome, index: number, isLost: string): Problem {
  const reason = PUT_OUTCOME_NAMES[outcome];
  return new Problem(
    507,
    `page ${index} was refused (${reason}), and ${isLost}; keep it elsewhere, or try again later`,
    { members: { reason, index } },
  );
}

/**
 * Makes the object those pages, from index 0 on, and nothing else. Rejects with a Problem when one
 * is refused: then the object has no page at all.
 */
export async function putObject(
  pools: ClientPools,
  view: ClientPool,
  object: number,
  body: Buffer,
): Promise<number> {
  const { pool } = view;
  const { pageBytes } = pool;
  const count = body.length / pageBytes;
  const slices = new Slices(view);
  pool.flushObject(object);
  for (let index = 0; index < count; index++) {
    if (slices.isDue) await slices.turn();
    const outcome = pools.put(view, object, index, body, index * pageBytes);
    slices.count();
    if (!isRefused(outcome)) continue;
    pool.flushObject(object);
    throw refusal(outcome, index, 'no page of the object is held any more');
  }
  return count;
}

/** How many pages of the object there are in a row, from index 0 on, up to `countMax`. */
export function pagesInRow({ pool }: ClientPool, object: number, countMax: number): number {
  let count = 0;
  while (count < countMax && pool.has(object, count)) count++;
  return count;
}

/**
 * Copies pages of the object to `body`, from index 0 on, up to the first that is not there; answers
 * how many. Rejects with a Problem when the pool ends meanwhile.
 */
export async function getObject(view: ClientPool, object: number, body: Buffer): Promise<number> {
  const { pool } = view;
  const { pageBytes } = pool;
  const count = body.length / pageBytes;
  const slices = new Slices(view);
  for (let index = 0; index < count; index++) {
    if (slices.isDue) await slices.turn();
    if (pool.get(object, index, body, index * pageBytes) === MISS) return index;
    slices.count();
  }
  return count;
}

/** What a page that is not held is answered with. */
export function missing(object: number, index: number): Problem {
  return new Problem(
    404,
    `page ${index} of object ${object} is not held; get it where it came from`,
    {
      members: { index },
    },
  );
}
