/** How much memory, and which policy: the miss-ratio curves and the table of all runs. */

import { formatCount, formatPercent } from '../../../lib/quantities.ts';
import { drawLineChart, type LineSeries } from '../charts/line-chart.ts';
import { coldName, pagesAs } from '../format.ts';
import { type CurveFacts, type CurvePoint, FLOOR_POLICY, type ReplayReport } from '../report.ts';
import { type Cell, figure, type LegendEntry, section, table } from './elements.ts';
import { COLD_STYLE, policyStyles, policyTitle, styleOf } from './policy-styles.ts';

function sizeName(report: ReplayReport, pages: number): string {
  return pagesAs(pages, report.settings.pageBytes, report.trace.unit);
}

function sizeAxisName({ settings, trace }: ReplayReport): string {
  if (settings.engine === 'full') return 'memory';
  return trace.unit === 'bytes' ? 'pages held, uncompressed' : 'objects held';
}

function missText({ missRatio, low, high }: CurvePoint): string {
  if (low === undefined || high === undefined) return formatPercent(missRatio);
  return `${formatPercent(missRatio)} (${formatPercent(low)} to ${formatPercent(high)})`;
}

function seriesOf(report: ReplayReport): LineSeries[] {
  const styles = policyStyles(report);
  const lines = report.curves.map(({ policy, points, found }): LineSeries => {
    const banded = points.flatMap(({ low, high }) =>
      low === undefined || high === undefined ? [] : [{ low, high }],
    );
    return {
      name: policyTitle(policy),
      points: points.map(({ pages, missRatio }) => ({ x: pages, y: missRatio })),
      style: styleOf(styles, policy),
      hasMarks: found !== 'stack distance' && policy !== FLOOR_POLICY,
      isFloor: policy === FLOOR_POLICY,
      ...(banded.length === points.length && { band: banded }),
    };
  });
  return [...lines, coldLine(report)];
}

function coldLine({ curves, workload, settings }: ReplayReport): LineSeries {
  const sizes = curves.flatMap(({ points }) => points.map(({ pages }) => pages));
  const ends = sizes.length === 0 ? [] : [Math.min(...sizes), Math.max(...sizes)];
  return {
    name: `${coldName(settings.ops)} (no cache avoids them)`,
    points: ends.map((x) => ({ x, y: workload.coldMissRatio })),
    style: COLD_STYLE,
  };
}

function curvesFigure(report: ReplayReport): string {
  const series = seriesOf(report);
  const sizes = series.flatMap(({ points }) => points.map(({ x }) => x));
  const best = report.advice;
  const svg = drawLineChart({
    id: 'mrc',
    x: {
      name: sizeAxisName(report),
      scale: 'log',
      base: 2,
      min: Math.min(...sizes),
      max: Math.max(...sizes),
      format: (pages) => sizeName(report, pages),
    },
    y: { name: 'miss ratio', scale: 'linear', min: 0, max: 1, format: (y) => `${y * 100} %` },
    series,
    mark: { x: best.capacityPages, text: sizeName(report, best.capacityPages) },
  });
  const sampled = report.settings.sampleRate < 1;
  const hasFloor = report.curves.some(({ policy }) => policy === FLOOR_POLICY);
  return figure({
    id: 'miss-ratio-curves',
    title: 'Miss ratio by size, for each policy',
    label:
      `Line chart of the miss ratio over the cache size for ${report.curves.length} policies. ` +
      `${best.policy} misses ${formatPercent(1 - best.hitRatio)} at ${sizeName(report, best.capacityPages)}; ` +
      `${coldName(report.settings.ops)} are ${formatPercent(report.workload.coldMissRatio)}.`,
    legend: series.map(({ name, style }): LegendEntry => ({ name, style })),
    svg,
    seriesCount: series.length,
    data: curveTable(report),
    note:
      `Lower is better. ${hasFloor ? 'In the shaded area no policy can be. ' : ''}Dots were simulated; a line ` +
      `without dots is exact at every size.${sampled ? ' Bands are 95 % of what a sample leaves uncertain.' : ''}`,
  });
}

/** Sizes by policies; where a curve is known at more sizes, every one is a row. */
function curveTable(report: ReplayReport) {
  const sizes = new Set(report.curves.flatMap(({ points }) => points.map(({ pages }) => pages)));
  // Of objects the size is their number.
  const hasBytes = report.trace.unit === 'bytes';
  const at = ({ points }: CurveFacts, pages: number): Cell => {
    const point = points.find((each) => each.pages === pages);
    return { number: point === undefined ? '' : missText(point) };
  };
  return {
    caption: 'Miss ratio by size and policy',
    head: [
      'Size',
      ...(hasBytes ? [{ number: 'Pages' }] : []),
      ...report.curves.map(({ policy }) => ({ number: policy })),
    ],
    rows: [...sizes]
      .sort((one, other) => one - other)
      .map((pages) => [
        sizeName(report, pages),
        ...(hasBytes ? [{ number: formatCount(pages) }] : []),
        ...report.curves.map((curve) => at(curve, pages)),
      ]),
  };
}

/** Hit ratios of all runs: a row for each size, and the best policy without foresight in bold. */
function runsTable(report: ReplayReport): string {
  const policies = [...new Set(report.runs.map(({ policy }) => policy))];
  const sizes = [...new Set(report.runs.map(({ capacityPages }) => capacityPages))];
  const { footprintPages } = report.workload;
  const rows = sizes.map((pages): Cell[] => {
    const ratios = policies.map(
      (policy) =>
        report.runs.find((run) => run.policy === policy && run.capacityPages === pages)?.missRatio,
    );
    const online = ratios.filter((_, index) => policies[index] !== FLOOR_POLICY);
    const least = Math.min(...online.map((ratio) => ratio ?? 1));
    const share = footprintPages === 0 ? 0 : pages / footprintPages;
    return [
      sizeName(report, pages),
      { number: share > 1 ? 'more than all' : formatPercent(share) },
      ...ratios.map((ratio, index): Cell => {
        if (ratio === undefined) return { number: '' };
        const isBest = ratio === least && policies[index] !== FLOOR_POLICY;
        return { number: formatPercent(1 - ratio), isBest };
      }),
    ];
  });
  return table({
    caption: 'Hit ratio by size and policy; in bold the best that does not know the future',
    head: ['Size', { number: 'Of footprint' }, ...policies.map((policy) => ({ number: policy }))],
    rows,
  });
}

function introOf({ settings, trace }: ReplayReport): string {
  if (settings.engine === 'full') {
    return (
      'Sizes are of all memory that the service may take. ' +
      'The floor is of as many pages as that memory ever held, compressed or not.'
    );
  }
  if (trace.unit === 'keys') return 'Sizes are of the objects held.';
  return 'Sizes are of the pages held, as the client sees them. Memory that compresses holds more; see the tiers below.';
}

/** The section with the curves. */
export function memorySection(report: ReplayReport): string {
  return section(
    'memory',
    'How much memory, and which policy',
    introOf(report),
    `${curvesFigure(report)}\n${runsTable(report)}`,
  );
}
