/** SHARDS with a fixed rate: cheaper than the exact curve by that rate, in memory as well. */

import type { MissRatioCurve } from './curve.ts';
import { DistanceHistogram } from './distance-histogram.ts';
import type { PageReferences } from './lru-curve.ts';
import { HASH_RANGE, pageHash } from './page-hash.ts';
import { RecencyOrder } from './recency-order.ts';

const NOT_SAMPLED = -1;

/**
 * The LRU curve of a stream of dense page numbers below `pageCount`, by the pages whose hash falls
 * below `rate` (above 0, at most 1): Waldspurger et al., FAST'15, section 3.1, with the correction
 * of section 3.4. The error grows as fewer pages are sampled: a thousand give about 0.02.
 */
export function fixedRateShards(
  { ids, pageCount }: PageReferences,
  rate: number,
  salt: number,
): MissRatioCurve {
  const slotOf = new Int32Array(pageCount);
  let slots = 0;
  for (let page = 0; page < pageCount; page++) {
    slotOf[page] = pageHash(page, salt) < rate * HASH_RANGE ? slots++ : NOT_SAMPLED;
  }
  const order = new RecencyOrder(slots);
  const histogram = new DistanceHistogram();
  const weight = 1 / rate;
  for (let at = 0; at < ids.length; at++) {
    const slot = slotOf[ids[at]!]!;
    if (slot === NOT_SAMPLED) continue;
    const depth = order.reference(slot);
    if (depth === 0) histogram.addCold(weight);
    else histogram.add((depth - 1) * weight, weight);
  }
  const references = ids.length;
  return {
    references,
    missRatioAt: (pages) => histogram.missRatioOf(references, pages),
  };
}
