/** Charts of bars: shares of a whole by class. */

import type { EChartsOption } from 'echarts';
import { type Axis, leftAxis } from './axes.ts';
import { HALF } from './line-chart.ts';
import { COLOURS, drawChart } from './svg.ts';

/** The bars of one colour, one for each class. */
export interface BarSeries {
  readonly name: string;
  readonly values: readonly number[];
  readonly colour: string;
  /** Drawn with stripes, for those who cannot tell the colours. */
  readonly isStriped?: boolean;
}

export interface BarChart {
  readonly id: string;
  /** What the classes are. */
  readonly xName: string;
  readonly classes: readonly string[];
  readonly y: Axis;
  readonly series: readonly BarSeries[];
  readonly width?: number;
  readonly height?: number;
}

/** The chart as SVG text. */
export function drawBarChart(chart: BarChart): string {
  const { id, xName, classes, y, series, width = HALF, height = 320 } = chart;
  const option: EChartsOption = {
    grid: { left: 66, right: 18, top: 14, bottom: xName === '' ? 30 : 52 },
    xAxis: {
      type: 'category',
      data: [...classes],
      name: xName,
      nameLocation: 'middle',
      nameGap: 30,
      nameTextStyle: { color: COLOURS.muted, fontSize: 12 },
      axisLine: { lineStyle: { color: COLOURS.axis } },
      axisTick: { show: false },
      axisLabel: { color: COLOURS.muted, fontSize: 12, hideOverlap: true },
    },
    yAxis: leftAxis(y),
    series: series.map(({ name, values, colour, isStriped }) => ({
      name,
      type: 'bar' as const,
      silent: true,
      barCategoryGap: '24%',
      barGap: '8%',
      barMaxWidth: 44,
      data: [...values],
      itemStyle: isStriped
        ? { color: colour, opacity: 0.45, borderColor: colour, borderWidth: 1.2 }
        : { color: colour },
    })),
  };
  return drawChart({ id, width, height, option });
}
