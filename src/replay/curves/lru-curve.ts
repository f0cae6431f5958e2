/** The exact miss-ratio curve of LRU, for all sizes at once, in one pass. */

import type { MissRatioCurve } from '../../curves/curve.ts';
import { RecencyOrder } from '../../curves/recency-order.ts';
import type { PageStream } from '../engine/page-stream.ts';
import { bitAt, dropBitsOf } from '../engine/write-bits.ts';

/** How often each stack distance was seen, and what it says of LRU caches of any size. */
export class StackDistances implements MissRatioCurve {
  references = 0;
  /** References of pages that were not in the stack: no size makes hits of them. */
  coldMisses = 0;
  /** References by stack distance, which is from 1 to the number of distinct pages. */
  readonly counts: Uint32Array;
  private readonly order: RecencyOrder;
  /** References with at most a distance; built when it is first asked for. */
  private hitsUpTo: Uint32Array | undefined;

  /** Takes pages `[0, pageCount)`, at most 2^32 - 1 references, and 14 bytes of memory a page. */
  constructor(pageCount: number) {
    this.counts = new Uint32Array(pageCount + 1);
    this.order = new RecencyOrder(pageCount);
  }

  /** Counts a reference of `page`. */
  reference(page: number): void {
    const distance = this.order.reference(page);
    this.references++;
    this.hitsUpTo = undefined;
    if (distance === 0) this.coldMisses++;
    else this.counts[distance] = this.counts[distance]! + 1;
  }

  /** Uses `page` as `reference` does, and counts nothing: a cache that is warmed up. */
  warmUp(page: number): void {
    this.order.reference(page);
  }

  /** The page leaves every cache: its next reference is a miss. Counts nothing. */
  invalidate(page: number): void {
    this.order.remove(page);
  }

  /** Exact for whole numbers of pages; a part of a page holds nothing. */
  missRatioAt(pages: number): number {
    return this.references === 0 ? 0 : 1 - this.hitsAt(pages) / this.references;
  }

  /** The hits of an LRU cache of `pages` pages. */
  hitsAt(pages: number): number {
    this.hitsUpTo ??= this.sumUp();
    const last = this.counts.length - 1;
    return this.hitsUpTo[Math.min(last, Math.max(0, Math.floor(pages)))] ?? 0;
  }

  private sumUp(): Uint32Array {
    let sum = 0;
    return this.counts.map((count) => {
      sum += count;
      return sum;
    });
  }
}

/** Pages in the order of their use, and which of the uses drop them. */
export type PageReferences = Pick<PageStream, 'ids' | 'pageCount'> &
  Partial<Pick<PageStream, 'ops' | 'writeBits'>>;

/** The stack distances of a stream, of which the first `warmup` references are not counted. */
export function stackDistancesOf(stream: PageReferences, warmup = 0): StackDistances {
  const { ids, pageCount } = stream;
  const drops = dropBitsOf(stream);
  const distances = new StackDistances(pageCount);
  for (let at = 0; at < ids.length; at++) {
    if (drops !== undefined && bitAt(drops, at)) distances.invalidate(ids[at]!);
    else if (at < warmup) distances.warmUp(ids[at]!);
    else distances.reference(ids[at]!);
  }
  return distances;
}
