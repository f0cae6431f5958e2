/** What an advisor found out about an export, as lines of a status. */

import type { AdvisorStatus, EstimateStatus, PointStatus } from '../../admin/api.ts';
import { formatSize } from '../../lib/sizes.ts';
import type { Line, Span } from '../terminal/line.ts';

/** From no misses to nothing but misses. */
const BLOCKS = '▁▂▃▄▅▆▇█';

/** A label and what stands behind it. */
export interface LabelledLine {
  readonly label: string;
  readonly shown: Line;
}

/** The curve, the estimates, and the advice; the last alone where nothing was read yet. */
export function adviceLines(advisor: AdvisorStatus): LabelledLine[] {
  const { advice, curve, sizes, others, reads, realMissRatio } = advisor;
  const inWords: LabelledLine = { label: '  advice', shown: [advice] };
  const [first] = curve;
  const last = curve.at(-1);
  if (reads === 0 || first === undefined || last === undefined) return [inWords];
  const estimates = [...sizes.map(sizeSpan), ...others.map(otherSpan)].join('  ');
  return [
    {
      label: '  curve',
      shown: [spark(curve), `  of lru, with ${pointOf(first)} to ${pointOf(last)}`],
    },
    { label: '  misses', shown: [estimates, `  measured ${percent(realMissRatio)}`] },
    inWords,
  ];
}

function spark(curve: readonly PointStatus[]): Span {
  const blocks = curve.map(({ missRatio }) => {
    const height = Math.round(Math.min(1, Math.max(0, missRatio)) * (BLOCKS.length - 1));
    return BLOCKS[height] ?? '';
  });
  return { text: blocks.join(''), tone: 'data' };
}

function pointOf({ bytes, missRatio }: PointStatus): string {
  return `${formatSize(bytes)}: ${percent(missRatio)}`;
}

function sizeSpan(estimate: EstimateStatus): string {
  return `${estimate.memory}× ${withBand(estimate)}`;
}

function otherSpan(estimate: EstimateStatus): string {
  return `${estimate.policy} ${withBand(estimate)}`;
}

function withBand({ missRatio, low, high }: PointStatus): string {
  return `${percent(missRatio)} ±${(((high - low) / 2) * 100).toFixed(1)}`;
}

function percent(ratio: number): string {
  return `${(ratio * 100).toFixed(1)} %`;
}
