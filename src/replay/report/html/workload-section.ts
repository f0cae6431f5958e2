/** What the workload is like: how soon and how often pages come again, what requests there are. */

import { formatCount, formatPercent } from '../../../lib/quantities.ts';
import { drawBarChart } from '../charts/bar-chart.ts';
import { drawLineChart, HALF, type LineSeries, WIDE } from '../charts/line-chart.ts';
import { timeStep } from '../charts/steps.ts';
import { COLOURS } from '../charts/svg.ts';
import { axisTime, coldName, duration, pagesAs, shortCount, size } from '../format.ts';
import type { ReplayReport } from '../report.ts';
import { figure, section } from './elements.ts';
import { footprintFigure } from './time-section.ts';

const READ_STYLE = { colour: COLOURS.accent, dash: [], width: 2 } as const;
const WRITE_STYLE = { colour: COLOURS.second, dash: [7, 4], width: 2 } as const;
const SEQUENTIAL_STYLE = { colour: 'var(--s2)', dash: [2, 3], width: 2 } as const;

function reuseFigure(report: ReplayReport): string {
  const { reuse, settings, trace } = report;
  const name = (pages: number) => pagesAs(pages, settings.pageBytes, trace.unit);
  return figure({
    id: 'reuse',
    title: 'Reuse distance: what was used in between',
    label:
      `Bar chart of reuse distances, in size of the different pages used in between; ` +
      `${formatPercent(reuse.cold)} of the accesses are ${coldName(settings.ops)}.`,
    legend: [],
    svg: drawBarChart({
      id: 'reuse',
      xName: 'at most',
      classes: reuse.bars.map(({ pagesMax }) => name(pagesMax)),
      y: {
        name: 'share of accesses',
        scale: 'linear',
        min: 0,
        format: (y) => `${round(y * 100)} %`,
      },
      series: [
        { name: 'accesses', values: reuse.bars.map(({ share }) => share), colour: COLOURS.accent },
      ],
      height: 280,
    }),
    seriesCount: 1,
    note: `An LRU cache hits what is left of its size. Not shown: ${coldName(settings.ops)}, ${formatPercent(reuse.cold)}.`,
    data: {
      caption: 'Accesses by reuse distance',
      head: ['Distance at most', { number: 'Share of accesses' }],
      rows: reuse.bars.map(({ pagesMax, share }) => [
        name(pagesMax),
        { number: formatPercent(share) },
      ]),
    },
  });
}

function round(value: number): number {
  return Number(value.toPrecision(3));
}

function popularityFigure({ popularity, trace }: ReplayReport): string {
  const object = trace.unit === 'bytes' ? 'page' : 'object';
  const { byRank, topShares, usedOnce } = popularity;
  const tops = topShares
    .map(
      ({ pages, accesses }) =>
        `the top ${pages * 100} % of ${object}s get ${formatPercent(accesses)}`,
    )
    .join(', ');
  return figure({
    id: 'popularity',
    title: `Popularity: accesses of each ${object}, by rank`,
    label: `Line chart of accesses by rank on logarithmic axes: ${tops} of the accesses.`,
    legend: [],
    svg: drawLineChart({
      id: 'pop',
      x: { name: 'rank', scale: 'log', min: 1, format: shortCount },
      y: { name: 'accesses', scale: 'log', min: 1, format: shortCount },
      series: [{ name: 'accesses', points: byRank, style: READ_STYLE }],
      width: HALF,
      height: 280,
    }),
    seriesCount: 1,
    note: `Of all accesses, ${tops}. Used only once: ${formatPercent(usedOnce)} of the ${object}s.`,
    data: {
      caption: 'Accesses by rank',
      head: ['Rank', { number: 'Accesses' }],
      rows: byRank.map(({ x, y }) => [formatCount(x), { number: formatCount(y) }]),
    },
  });
}

function mixFigure(report: ReplayReport): string {
  const { mix, workload } = report;
  const hasTimes = workload.seconds > 0;
  const points = (counts: readonly number[]) => mixPoints(counts, report);
  const series: LineSeries[] = [
    { name: 'reads', points: points(mix.reads), style: READ_STYLE, isStepped: true },
    { name: 'writes', points: points(mix.writes), style: WRITE_STYLE, isStepped: true },
    {
      name: 'sequential',
      points: points(mix.sequential),
      style: SEQUENTIAL_STYLE,
      isStepped: true,
    },
  ];
  const transfers = workload.reads + workload.writes;
  const shares = transfers === 0 ? [0, 0] : [workload.reads, workload.sequential];
  const [reads = 0, sequential = 0] = shares.map((each) => each / Math.max(1, transfers));
  return figure({
    id: 'mix',
    title: hasTimes ? 'Requests per second' : 'Requests',
    label:
      `Line chart of reads, writes and sequential requests over the trace. ` +
      `${formatPercent(reads)} are reads, ${formatPercent(sequential)} are sequential.`,
    legend: series.map(({ name, style }) => ({ name, style })),
    svg: drawLineChart({
      id: 'mix',
      x: {
        name: hasTimes ? 'time since the first request' : 'requests',
        scale: 'linear',
        min: 0,
        max: Math.max(1, mix.reads.length) * mix.columnWidth,
        ...(hasTimes && { interval: timeStep(workload.seconds) }),
        format: (x) => (hasTimes ? axisTime(x, workload.seconds) : shortCount(x)),
      },
      y: { name: '', scale: 'linear', min: 0, format: shortCount },
      series,
      width: WIDE,
      height: 300,
    }),
    seriesCount: series.length,
    note: `${formatPercent(reads)} of the requests are reads; ${formatPercent(sequential)} go on where another ended.`,
    data: mixTable(report),
  });
}

/** The steps of a line: requests of each column, each second where there are times. */
function mixPoints(counts: readonly number[], { mix: { columnWidth }, workload }: ReplayReport) {
  const { seconds } = workload;
  const steps = counts.map((each, at) => {
    const x = at * columnWidth;
    // The trace may end within its last column; of a moment there is no rate.
    const rest = Math.max(seconds - x, columnWidth / 10);
    return { x, y: seconds > 0 ? each / Math.min(columnWidth, rest) : each };
  });
  const last = steps.at(-1);
  return last === undefined ? steps : [...steps, { x: last.x + columnWidth, y: last.y }];
}

function mixTable({ mix, workload, trace }: ReplayReport) {
  // Objects are counted: how large they are is not known.
  const hasBytes = trace.unit === 'bytes';
  const hasTimes = workload.seconds > 0;
  return {
    caption: 'Requests in each part of the trace',
    head: [
      'From',
      ...['Reads', 'Writes', 'Sequential', ...(hasBytes ? ['Read', 'Written'] : [])].map(
        (number) => ({ number }),
      ),
    ],
    rows: mix.reads.map((each, at) => [
      hasTimes ? duration(at * mix.columnWidth) : formatCount(at * mix.columnWidth),
      { number: formatCount(each) },
      { number: formatCount(mix.writes[at] ?? 0) },
      { number: formatCount(mix.sequential[at] ?? 0) },
      ...(hasBytes ? [mix.readBytes[at] ?? 0, mix.writeBytes[at] ?? 0] : []).map((bytes) => ({
        number: size(bytes),
      })),
    ]),
  };
}

function sizesFigure({ sizes }: ReplayReport): string {
  const styles = [
    { name: 'reads', colour: COLOURS.accent, box: 'plain' },
    { name: 'writes', colour: COLOURS.second, box: 'striped' },
  ] as const;
  return figure({
    id: 'sizes',
    title: 'Request sizes',
    label: 'Bar chart of reads and writes by the size of the request.',
    legend: styles.map(({ name, colour, box }) => ({ name, style: { colour, box } })),
    svg: drawBarChart({
      id: 'sizes',
      xName: 'at most',
      classes: sizes.map(({ bytesMax }) => size(bytesMax)),
      y: { name: 'requests', scale: 'linear', min: 0, format: shortCount },
      series: styles.map(({ name, colour, box }) => ({
        name,
        colour,
        isStriped: box === 'striped',
        values: sizes.map((each) => each[name]),
      })),
      height: 280,
    }),
    seriesCount: 2,
    data: {
      caption: 'Requests by size',
      head: ['At most', { number: 'Reads' }, { number: 'Writes' }],
      rows: sizes.map(({ bytesMax, reads, writes }) => [
        size(bytesMax),
        { number: formatCount(reads) },
        { number: formatCount(writes) },
      ]),
    },
  });
}

/** The section of the workload itself. */
export function workloadSection(report: ReplayReport): string {
  const figures = [
    footprintFigure(report),
    reuseFigure(report),
    popularityFigure(report),
    ...(report.trace.unit === 'bytes' && report.sizes.length > 0 ? [sizesFigure(report)] : []),
  ];
  const pairs = `<div class="pair">\n${figures.join('\n')}\n</div>`;
  return section('workload', 'The workload', '', `${mixFigure(report)}\n${pairs}`);
}
