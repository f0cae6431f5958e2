/** SHARDS with a fixed rate: cheaper than the exact curve by that rate, in memory as well. */

import type { MissRatioCurve } from '../../curves/curve.ts';
import { DistanceHistogram } from '../../curves/distance-histogram.ts';
import { RecencyOrder } from '../../curves/recency-order.ts';
import { isDrop, type PageReferences } from './lru-curve.ts';

/**
 * The LRU curve of a stream of about `references` references, by a sample of its pages: those whose
 * hash falls into `rate` (above 0, at most 1) of all hashes. Waldspurger, Park, Garthwaite and
 * Ahmad, "Efficient MRC construction with SHARDS" (FAST'15), section 3.1, with the correction of
 * section 3.4. The error grows as fewer pages are sampled: a thousand give about 0.02. The first
 * `warmup` of the sample are not counted, and not among `references`.
 */
export function fixedRateShards(
  sample: PageReferences,
  rate: number,
  references: number,
  warmup = 0,
): MissRatioCurve {
  const { ids, pageCount } = sample;
  const order = new RecencyOrder(pageCount);
  const histogram = new DistanceHistogram();
  const weight = 1 / rate;
  for (let at = 0; at < ids.length; at++) {
    if (isDrop(sample, at)) {
      order.remove(ids[at]!);
      continue;
    }
    const depth = order.reference(ids[at]!);
    if (at < warmup) continue;
    if (depth === 0) histogram.addCold(weight);
    else histogram.add((depth - 1) * weight, weight);
  }
  return {
    references,
    missRatioAt: (pages) => histogram.missRatioOf(references, pages),
  };
}
