/** From the counts of an advisor to a report: ratios, how far they may be off, and the curve. */

import { bandOf } from '../curves/curve.ts';
import type { FixedSizeShards } from '../curves/shards.ts';
import { MEMORY_FACTORS } from './budget.ts';
import type { AdvisorReport, CurvePoint, MemoryEstimate } from './report.ts';
import { CLASSES, type Shadow } from './shadow.ts';

/** What an advisor counted. */
export interface Found {
  readonly policy: string;
  readonly reads: number;
  readonly sampledReads: number;
  readonly uncountedReads: number;
  readonly missed: number;
  readonly rate: number;
  readonly memoryPages: number;
  readonly chargeBytes: number;
  readonly pageBytes: number;
  /** Of `MEMORY_FACTORS`. */
  readonly sizes: readonly Shadow[];
  readonly rival: Shadow;
  readonly curve: FixedSizeShards;
}

/** The curve goes down by halves from the footprint, so many times. */
const CURVE_POINTS = 16;
const CURVE_PAGES_MIN = 64;
/** In a sample of n pages a distance may be off by so many times 1 / √n of itself. */
const DEVIATIONS = 2;

/** The report of what was found. */
export function reportOf(found: Found): AdvisorReport {
  const { reads, missed, memoryPages, curve } = found;
  const sizes = estimatesOf(found);
  const same = sizes[MEMORY_FACTORS.indexOf(1)]!;
  const realMissRatio = reads === 0 ? 0 : Math.min(1, Math.max(0, missed / reads));
  return {
    reads,
    sampledReads: found.sampledReads,
    uncountedReads: found.uncountedReads,
    rate: found.rate,
    sampledPages: curve.sampleCount,
    footprintPages: Math.round(curve.footprint),
    memoryPages: Math.round(memoryPages),
    pageBytes: found.pageBytes,
    isFull: found.sizes[MEMORY_FACTORS.indexOf(1)]!.hasEvicted,
    realMissRatio,
    gap: reads === 0 ? 0 : realMissRatio - same.missRatio,
    sizes,
    others: othersOf(found, sizes),
    curve: curveOf(found),
  };
}

function estimatesOf(found: Found): MemoryEstimate[] {
  const ratios = found.sizes.map((shadow) => ratioOf(shadow, found.reads));
  return MEMORY_FACTORS.map((memory, i) => {
    const shadow = found.sizes[i]!;
    return estimateOf(found, shadow, memory, reachOfCapacity(ratios, i, shadow));
  });
}

function othersOf(found: Found, sizes: readonly MemoryEstimate[]): MemoryEstimate[] {
  const { rival, curve, policy, memoryPages, chargeBytes } = found;
  const same = MEMORY_FACTORS.indexOf(1);
  const ratios = sizes.map(({ missRatio }) => missRatio);
  const others = [estimateOf(found, rival, 1, reachOfCapacity(ratios, same, rival))];
  if (policy !== 'lru' && curve.references > 0) {
    others.push({
      ...{ memory: 1, policy: 'lru', pages: Math.round(memoryPages) },
      bytes: Math.round(memoryPages * chargeBytes),
      ...bandAt(curve, memoryPages),
      classes: curve.missRatiosAt(memoryPages),
    });
  }
  return others.sort((a, b) => a.missRatio - b.missRatio);
}

function ratioOf({ misses }: Shadow, reads: number): number {
  let sum = 0;
  for (const count of misses) sum += count;
  return reads === 0 ? 0 : Math.min(1, sum / reads);
}

function estimateOf(
  { reads, memoryPages, chargeBytes }: Found,
  shadow: Shadow,
  memory: number,
  otherReach: number,
): MemoryEstimate {
  const classes = Array.from(shadow.misses, (count) =>
    reads === 0 ? 0 : Math.min(1, (count * CLASSES) / reads),
  );
  return {
    memory,
    policy: shadow.policyName,
    pages: Math.round(memoryPages * memory),
    bytes: Math.round(memoryPages * memory * chargeBytes),
    ...bandOf(ratioOf(shadow, reads), classes, otherReach),
    classes,
  };
}

/**
 * What the miss ratio may be off by because the sample has more or fewer pages than its rate
 * promises, so that the shadow is a little too small or too large for it: by how steep the ratios of
 * the sizes beside it are.
 */
function reachOfCapacity(ratios: readonly number[], at: number, shadow: Shadow): number {
  if (!shadow.hasEvicted) return 0;
  const here = ratios[at] ?? 0;
  const steepest = Math.max(
    ...[ratios[at - 1], ratios[at + 1]].map((beside) => Math.abs((beside ?? here) - here)),
  );
  const octaves = Math.log2(1 + DEVIATIONS / Math.sqrt(shadow.capacityPages));
  return steepest * octaves;
}

/** The miss ratio of LRU and its band. */
function bandAt(curve: FixedSizeShards, pages: number) {
  const sampled = Math.max(1, Math.min(curve.sampleCount, pages * curve.rate));
  const off = Math.min(1, DEVIATIONS / Math.sqrt(sampled));
  const reach = (curve.missRatioAt(pages * (1 - off)) - curve.missRatioAt(pages * (1 + off))) / 2;
  return bandOf(curve.missRatioAt(pages), curve.missRatiosAt(pages), Math.max(0, reach));
}

function curveOf({ curve, chargeBytes }: Found): CurvePoint[] {
  if (curve.references === 0) return [];
  const last = 2 ** Math.ceil(Math.log2(Math.max(CURVE_PAGES_MIN, curve.footprint)));
  const points: CurvePoint[] = [];
  const first = Math.max(CURVE_PAGES_MIN, last / 2 ** (CURVE_POINTS - 1));
  for (let pages = first; pages <= last; pages *= 2) {
    points.push({ pages, bytes: Math.round(pages * chargeBytes), ...bandAt(curve, pages) });
  }
  return points;
}
