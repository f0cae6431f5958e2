/** How the axes of all charts look. */

import type { EChartsOption } from 'echarts';
import { COLOURS } from './svg.ts';

/** Of the alternatives, the one that is a single axis. */
type One<Option> = Exclude<Option, readonly unknown[] | undefined>;

/** An axis of a chart. */
export interface Axis {
  /** What it measures, with its unit. */
  readonly name: string;
  readonly scale: 'linear' | 'log';
  readonly min?: number;
  readonly max?: number;
  /** Steps of a linear axis. */
  readonly interval?: number;
  /** Of a logarithmic axis; 10 unless told otherwise. */
  readonly base?: number;
  format(value: number): string;
}

const FONT_SIZE = 12;

function shared({ name, scale, min, max, interval, base, format }: Axis) {
  return {
    name,
    nameLocation: 'middle' as const,
    nameTextStyle: { color: COLOURS.muted, fontSize: FONT_SIZE },
    ...(scale === 'log'
      ? { type: 'log' as const, logBase: base ?? 10 }
      : { type: 'value' as const }),
    ...(min !== undefined && { min }),
    ...(max !== undefined && { max }),
    ...(interval !== undefined && { interval }),
    axisLine: { show: true, lineStyle: { color: COLOURS.axis } },
    axisTick: { lineStyle: { color: COLOURS.axis } },
    axisLabel: {
      color: COLOURS.muted,
      fontSize: FONT_SIZE,
      hideOverlap: true,
      formatter: (value: number) => format(value),
    },
  };
}

/** An axis along the bottom. */
export function bottomAxis(axis: Axis): One<EChartsOption['xAxis']> {
  return { ...shared(axis), nameGap: 30, splitLine: { show: false } };
}

/** An axis along the left, whose lines cross the chart. */
export function leftAxis(axis: Axis): One<EChartsOption['yAxis']> {
  return {
    ...shared(axis),
    nameGap: 48,
    axisLine: { show: false },
    axisTick: { show: false },
    splitLine: { lineStyle: { color: COLOURS.grid } },
  };
}
