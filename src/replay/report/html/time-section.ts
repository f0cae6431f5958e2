/** How it goes over time: hits, and how many pages are new. */

import { formatCount, formatPercent } from '../../../lib/quantities.ts';
import { drawLineChart, HALF, type LineSeries, WIDE } from '../charts/line-chart.ts';
import { sizeStep } from '../charts/steps.ts';
import { duration, pagesAs, shortCount } from '../format.ts';
import type { Point } from '../page-statistics.ts';
import { FLOOR_POLICY, type ReplayReport } from '../report.ts';
import { figure, section } from './elements.ts';
import { COLD_STYLE, policyStyles, styleOf } from './policy-styles.ts';

/** Among hits it is no floor. */
const FORESIGHT_NAME = 'belady (knows the future)';
const CEILING_NAME = 'all but first uses (no cache has more)';

function hitSeries(report: ReplayReport): LineSeries[] {
  const { starts, policies, coldMissRatios } = report.overTime;
  const styles = policyStyles(report);
  const points = (ratios: readonly (number | null)[]): Point[] =>
    ratios.flatMap((ratio, at) =>
      ratio === null ? [] : [{ x: starts[at]?.access ?? 0, y: ratio }],
    );
  return [
    ...policies.map(({ policy, hitRatios }) => ({
      name: policy === FLOOR_POLICY ? FORESIGHT_NAME : policy,
      points: points(hitRatios),
      style: styleOf(styles, policy),
    })),
    {
      name: CEILING_NAME,
      points: points(coldMissRatios.map((ratio) => (ratio === null ? null : 1 - ratio))),
      style: COLD_STYLE,
    },
  ];
}

function hitsFigure(report: ReplayReport): string {
  const { capacityPages, starts, policies, coldMissRatios } = report.overTime;
  const { seconds } = report.workload;
  const held = pagesAs(capacityPages, report.settings.pageBytes, report.trace.unit);
  const series = hitSeries(report);
  const ratio = (value: number | null | undefined) =>
    value === null || value === undefined ? '' : formatPercent(value);
  return figure({
    id: 'hits-over-time',
    title: `Hit ratio over time, at ${held}`,
    label: `Line chart of the hit ratio of ${policies.length} policies over the length of the trace, at ${held}.`,
    legend: series.map(({ name, style }) => ({ name, style })),
    svg: drawLineChart({
      id: 'hits',
      x: {
        name: 'accesses',
        scale: 'linear',
        min: 0,
        max: report.workload.accesses,
        format: shortCount,
      },
      y: { name: 'hit ratio', scale: 'linear', min: 0, max: 1, format: (y) => `${y * 100} %` },
      series,
      width: WIDE,
      height: 360,
    }),
    seriesCount: series.length,
    data: {
      caption: 'Hit ratio in each part of the trace',
      head: [
        'From access',
        ...(seconds > 0 ? [{ number: 'At' }] : []),
        ...policies.map(({ policy }) => ({ number: policy })),
        { number: 'Ceiling' },
      ],
      rows: starts.map((start, at) => {
        const cold = coldMissRatios[at];
        const ceiling = cold === null || cold === undefined ? null : 1 - cold;
        return [
          formatCount(start.access),
          ...(seconds > 0 ? [{ number: duration(start.seconds) }] : []),
          ...policies.map(({ hitRatios }) => ({ number: ratio(hitRatios[at]) })),
          { number: ratio(ceiling) },
        ];
      }),
    },
  });
}

/** How many different pages have been used. */
export function footprintFigure(report: ReplayReport): string {
  const { footprint, trace, workload } = report;
  const { pageBytes } = report.settings;
  const isBytes = trace.unit === 'bytes';
  const name = (pages: number) => pagesAs(pages, pageBytes, trace.unit);
  const step = sizeStep(workload.footprintPages * pageBytes) / pageBytes;
  return figure({
    id: 'footprint',
    title: `Footprint: different ${isBytes ? 'pages' : 'objects'} used so far`,
    label:
      `Line chart of the footprint over accesses. It grows to ${name(workload.footprintPages)} ` +
      `in ${formatCount(workload.accesses)} accesses.`,
    legend: [],
    svg: drawLineChart({
      id: 'foot',
      x: {
        name: 'accesses',
        scale: 'linear',
        min: 0,
        max: workload.accesses,
        format: shortCount,
      },
      y: {
        name: isBytes ? '' : 'objects',
        scale: 'linear',
        min: 0,
        // The last step is as large as the others.
        ...(isBytes && { interval: step, max: Math.ceil(workload.footprintPages / step) * step }),
        format: (pages) => (isBytes ? name(Math.round(pages)) : shortCount(pages)),
      },
      series: [
        {
          name: 'footprint',
          points: footprint,
          style: { colour: 'var(--s0)', dash: [], width: 2.2 },
          isFloor: true,
        },
      ],
      width: HALF,
      height: 280,
    }),
    seriesCount: 1,
    data: {
      caption: 'Footprint by accesses',
      head: [
        'Accesses',
        ...(isBytes ? ['Pages', 'Size'] : ['Objects']).map((number) => ({ number })),
      ],
      rows: footprint.map(({ x, y }) => [
        formatCount(x),
        { number: formatCount(y) },
        ...(isBytes ? [{ number: name(y) }] : []),
      ]),
    },
  });
}

/** The section of what changes over time. */
export function timeSection(report: ReplayReport): string {
  return section('time', 'Over time', '', hitsFigure(report));
}
