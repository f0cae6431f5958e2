/** Charts of lines: one value over another, with bands and floors. */

import type { EChartsOption, SeriesOption } from 'echarts';
import type { Point } from '../page-statistics.ts';
import { type Axis, bottomAxis, leftAxis } from './axes.ts';
import { COLOURS, drawChart } from './svg.ts';

/** How a line looks: by colour, and by dashes for those who cannot tell the colours. */
export interface LineStyle {
  readonly colour: string;
  /** Lengths of dashes and gaps in turn; none is a line that is drawn through. */
  readonly dash: readonly number[];
  readonly width: number;
}

/** The first ones are told apart best. */
const DASHES: readonly (readonly number[])[] = [
  [],
  [7, 4],
  [2, 3],
  [9, 3, 2, 3],
  [14, 4],
  [4, 2],
  [9, 3, 2, 3, 2, 3],
];
/** Colours of the style sheet: `--s0` and so on. */
const COLOUR_COUNT = 7;

/** The look of series `index`: no two of 49 are alike. */
export function styleOfSeries(index: number): LineStyle {
  const round = Math.floor(index / COLOUR_COUNT);
  return {
    colour: `var(--s${index % COLOUR_COUNT})`,
    dash: DASHES[(index + round) % DASHES.length] ?? [],
    width: index === 0 ? 2.6 : 1.8,
  };
}

/** One line. */
export interface LineSeries {
  readonly name: string;
  readonly points: readonly Point[];
  readonly style: LineStyle;
  /** What is around the line, as wide as it is uncertain; as many as there are points. */
  readonly band?: readonly { readonly low: number; readonly high: number }[];
  /** Points are marked: they were measured, and what is between them was not. */
  readonly hasMarks?: boolean;
  /** What is below the line is shaded: nothing can be there. */
  readonly isFloor?: boolean;
  /** It keeps its value until the next point. */
  readonly isStepped?: boolean;
}

export interface LineChart {
  readonly id: string;
  readonly x: Axis;
  readonly y: Axis;
  readonly series: readonly LineSeries[];
  /** A line across the chart at an x, and what is written beside it. */
  readonly mark?: { readonly x: number; readonly text: string };
  readonly width?: number;
  readonly height?: number;
}

export const WIDE = 960;
export const HALF = 480;

function lineOf(series: LineSeries, index: number): SeriesOption {
  const { name, points, style, hasMarks, isFloor, isStepped } = series;
  const { colour, dash, width } = style;
  return {
    name,
    type: 'line',
    silent: true,
    z: isFloor ? 2 : 10 - index,
    data: points.map(({ x, y }) => [x, y]),
    symbol: hasMarks ? 'circle' : 'none',
    showAllSymbol: true,
    symbolSize: 5,
    step: isStepped ? 'end' : false,
    itemStyle: { color: colour },
    lineStyle: { color: colour, width, type: dash.length === 0 ? 'solid' : [...dash] },
    ...(isFloor && { areaStyle: { color: COLOURS.shade, opacity: 1, origin: 'start' } }),
  };
}

/** A band is two lines that cannot be seen, and what is between them. */
function bandOf({ name, points, style, band = [] }: LineSeries): SeriesOption[] {
  if (band.length === 0) return [];
  const edge = { type: 'line' as const, silent: true, symbol: 'none', stack: `band-${name}` };
  const unseen = { lineStyle: { color: style.colour, opacity: 0, width: 0 }, z: 1 };
  const at = (index: number) => points[index]?.x ?? 0;
  return [
    { ...edge, ...unseen, data: band.map(({ low }, index) => [at(index), low]) },
    {
      ...edge,
      ...unseen,
      data: band.map(({ low, high }, index) => [at(index), high - low]),
      areaStyle: { color: style.colour, opacity: style.width > 2 ? 0.2 : 0.09 },
    },
  ];
}

/** A series of nothing but the mark: it belongs to no line. */
function markOf({ x, text }: NonNullable<LineChart['mark']>): SeriesOption {
  return {
    type: 'line',
    silent: true,
    data: [],
    symbol: 'none',
    lineStyle: { color: COLOURS.muted },
    markLine: {
      symbol: 'none',
      silent: true,
      lineStyle: { color: COLOURS.muted, width: 1, type: 'solid' },
      label: {
        formatter: text,
        color: COLOURS.ink,
        fontSize: 12,
        position: 'insideEndTop',
        rotate: 0,
        align: 'right',
        padding: [0, 6, 0, 0],
      },
      data: [{ xAxis: x }],
    },
  };
}

/** The chart as SVG text. */
export function drawLineChart(chart: LineChart): string {
  const { id, x, y, series, mark, width = WIDE, height = 420 } = chart;
  const option: EChartsOption = {
    grid: { left: 66, right: 18, top: 14, bottom: x.name === '' ? 30 : 52 },
    xAxis: bottomAxis(x),
    yAxis: leftAxis(y),
    series: [
      ...series.flatMap((each, index) => [...bandOf(each), lineOf(each, index)]),
      ...(mark === undefined ? [] : [markOf(mark)]),
    ],
  };
  return drawChart({ id, width, height, option });
}
