/** What a report comes to, in a sentence. */

import { reachOf } from '../curves/curve.ts';
import { formatSize } from '../lib/sizes.ts';
import type { AdvisorReport, MemoryEstimate } from './report.ts';

/** Fewer sampled reads say nothing. */
const SAMPLED_READS_MIN = 2000;
/** Fewer misses than that, of all reads, are not worth any memory. */
const MISS_RATIO_MIN = 0.005;
/** A change of fewer misses than that, as a part of them, is not spoken of. */
const CHANGE_MIN = 0.03;
/** Half of the memory would do if it cost no more misses than that, as a part of them. */
const SPARE_MAX = 0.01;
/** From this gap on, of all reads, the advice says by how much it was wrong about what is known. */
const GAP_MAX = 0.05;
const GIB = 1024 ** 3;

/** One line, without a full stop. */
export function adviceOf(report: AdvisorReport): string {
  const { sampledReads, uncountedReads, rate, gap } = report;
  if (sampledReads < SAMPLED_READS_MIN) {
    const missing = uncountedReads + SAMPLED_READS_MIN - sampledReads;
    const more = Math.ceil(missing / rate / 1000) * 1000;
    return `nothing to say yet: about ${more.toLocaleString('en-US')} more pages must be read`;
  }
  const parts = [memoryAdvice(report), policyAdvice(report)];
  if (Math.abs(gap) > GAP_MAX) {
    const points = Math.round(Math.abs(gap) * 100);
    const direction = gap > 0 ? 'more' : 'fewer';
    parts.push(`beware: ${points} % ${direction} of the reads miss than the estimate says`);
  }
  return parts.filter((part) => part !== undefined).join('; ');
}

/** Misses that one has less than the other, as a part of the other's, and how far that may be off. */
function savedBy(one: MemoryEstimate, other: MemoryEstimate): { share: number; reach: number } {
  const ratio = (a: number, b: number) => (b > 0 ? 1 - a / b : 0);
  const classes = other.classes.map((misses, i) => ratio(one.classes[i] ?? 0, misses));
  return { share: ratio(one.missRatio, other.missRatio), reach: reachOf(classes) };
}

function memoryAdvice(report: AdvisorReport): string {
  const { sizes, isFull } = report;
  const [half, same, ...larger] = sizes;
  if (half === undefined || same === undefined) return 'nothing to say';
  const lost = savedBy(same, half);
  const halfWouldDo = lost.share <= SPARE_MAX ? ', and half of it would do' : '';
  if (!isFull) return `more memory would not help: all that was read fits${halfWouldDo}`;
  if (same.missRatio < MISS_RATIO_MIN) {
    return `more memory would not help: the working set fits${halfWouldDo}`;
  }
  for (const estimate of larger) {
    const { share, reach } = savedBy(estimate, same);
    if (share < CHANGE_MIN || share < reach) continue;
    const times = estimate.memory === 2 ? 'twice' : `${estimate.memory} times`;
    const bytes = estimate.bytes - same.bytes;
    const gained = same.missRatio - estimate.missRatio;
    const misses = `${percent(share)} of misses into hits (±${points(reach)})`;
    const perGib = bytes > GIB ? `, ${points((gained / bytes) * GIB)} for each GiB` : '';
    const gain = `${points(gained)} more of 100 reads${perGib}`;
    return `${times} the memory, ${formatSize(bytes)} more, would turn ${misses}: ${gain}`;
  }
  const misses = `${percent(same.missRatio)} of reads miss also with ${larger.at(-1)?.memory} times as much`;
  return `more memory would not help${halfWouldDo}: ${misses}`;
}

/** What the best other policy would do, if it would do better. */
function policyAdvice({ sizes, others, isFull }: AdvisorReport): string | undefined {
  const [, same] = sizes;
  const [best] = others;
  if (same === undefined || best === undefined || !isFull) return undefined;
  if (same.missRatio < MISS_RATIO_MIN) return undefined;
  const { share, reach } = savedBy(best, same);
  if (share < CHANGE_MIN || share < reach) return undefined;
  const times = memoryFor(best.missRatio, sizes);
  const worth =
    times === undefined
      ? ''
      : `, as much as ${formatSize((times - 1) * same.bytes)} more memory would do`;
  return `${best.policy} would miss ${percent(share)} less (±${points(reach)})${worth}`;
}

/** Times the memory that the configured policy needs to miss no more than that. */
function memoryFor(missRatio: number, sizes: readonly MemoryEstimate[]): number | undefined {
  for (let i = 1; i + 1 < sizes.length; i++) {
    const [from, to] = [sizes[i]!, sizes[i + 1]!];
    if (missRatio > from.missRatio || missRatio < to.missRatio) continue;
    const part = (from.missRatio - missRatio) / Math.max(1e-9, from.missRatio - to.missRatio);
    return from.memory * (to.memory / from.memory) ** part;
  }
  return undefined;
}

function percent(share: number): string {
  return `${points(share)} %`;
}

function points(share: number): string {
  return share < 0.095
    ? String(Number((share * 100).toPrecision(1)))
    : String(Math.round(share * 100));
}
