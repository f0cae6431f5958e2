/** What a stream of pages says of its workload: how many there are, how often and how soon again. */

import type { PageReferences, StackDistances } from '../curves/lru-curve.ts';
import { bitAt, dropBitsOf } from '../engine/write-bits.ts';

/** A number of something, at a place on an axis. */
export interface Point {
  readonly x: number;
  readonly y: number;
}

/**
 * How many different pages had been used after each of `points` equal parts of the stream: x is
 * accesses (and, where writes drop pages, drops), y is pages. The first point is (0, 0).
 */
export function footprintOverTime({ ids }: PageReferences, points: number): Point[] {
  const found: Point[] = [{ x: 0, y: 0 }];
  let pages = 0;
  let at = 0;
  for (let part = 1; part <= points; part++) {
    const end = Math.floor((ids.length * part) / points);
    for (; at < end; at++) if (ids[at]! >= pages) pages = ids[at]! + 1;
    found.push({ x: end, y: pages });
  }
  return found;
}

/**
 * Accesses from `warmup` on that miss in a cache without end: the first of their page, and the first
 * after it was dropped.
 */
export function unavoidableMisses(stream: PageReferences, warmup: number): number {
  const { ids, pageCount } = stream;
  const drops = dropBitsOf(stream);
  const isHeld = new Uint8Array(pageCount);
  let misses = 0;
  for (let at = 0; at < ids.length; at++) {
    const id = ids[at]!;
    const isDrop = drops !== undefined && bitAt(drops, at);
    if (!isDrop && isHeld[id] === 0 && at >= warmup) misses++;
    isHeld[id] = isDrop ? 0 : 1;
  }
  return misses;
}

/** How often pages are used. */
export interface Popularity {
  /** Accesses of the page of each rank, from 1, at ranks that a logarithmic axis spreads evenly. */
  readonly byRank: readonly Point[];
  /** The share of all accesses that goes to the most used 1 %, 10 % and 50 % of the pages. */
  readonly topShares: readonly { readonly pages: number; readonly accesses: number }[];
  /** The share of the pages that is used only once. */
  readonly usedOnce: number;
}

const TOP_SHARES = [0.01, 0.1, 0.5];
const RANKS_PER_DECADE = 12;

/** The popularity of the pages of a stream. */
export function popularityOf(stream: PageReferences): Popularity {
  const { ids, pageCount } = stream;
  const drops = dropBitsOf(stream);
  const uses = new Uint32Array(pageCount);
  let all = 0;
  for (let at = 0; at < ids.length; at++) {
    if (drops !== undefined && bitAt(drops, at)) continue;
    uses[ids[at]!] = uses[ids[at]!]! + 1;
    all++;
  }
  uses.sort();
  const once = uses.findIndex((count) => count > 1);
  const useOfRank = (rank: number) => uses[pageCount - rank] ?? 0;
  return {
    byRank: logarithmicRanks(pageCount).map((rank) => ({ x: rank, y: useOfRank(rank) })),
    topShares: TOP_SHARES.map((pages) => {
      let accesses = 0;
      const ranks = Math.ceil(pageCount * pages);
      for (let rank = 1; rank <= ranks; rank++) accesses += useOfRank(rank);
      return { pages, accesses: all === 0 ? 0 : accesses / all };
    }),
    usedOnce: pageCount === 0 ? 0 : (once === -1 ? pageCount : once) / pageCount,
  };
}

/** Ranks from 1 to `last`, both included, a fixed number for each factor of ten. */
function logarithmicRanks(last: number): number[] {
  const ranks = new Set<number>();
  for (let step = 0; ; step++) {
    const rank = Math.round(10 ** (step / RANKS_PER_DECADE));
    if (rank >= last) break;
    ranks.add(rank);
  }
  if (last > 0) ranks.add(last);
  return [...ranks];
}

/** References by how many other pages were used since the page's last use. */
export interface ReuseDistances {
  /** Each bar holds distances above the one before it and at most `pagesMax`; by powers of two. */
  readonly bars: readonly { readonly pagesMax: number; readonly share: number }[];
  /** The share of references whose page was not used before. */
  readonly cold: number;
}

/** The stack distances in bars of doubling width. */
export function reuseDistancesOf(distances: StackDistances): ReuseDistances {
  const { counts, references, coldMisses } = distances;
  const bars: { pagesMax: number; share: number }[] = [];
  for (let from = 1, pagesMax = 1; from < counts.length; from = pagesMax + 1, pagesMax *= 2) {
    let sum = 0;
    for (let at = from; at <= Math.min(pagesMax, counts.length - 1); at++) sum += counts[at]!;
    bars.push({ pagesMax, share: references === 0 ? 0 : sum / references });
  }
  return { bars, cold: references === 0 ? 0 : coldMisses / references };
}
