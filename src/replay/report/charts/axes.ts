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
/** As a share of the axis: what counts as its end, and how near a label may be to the one there. */
const AT_END = 1e-3;
const CROWDED = 0.08;

/** Whether a tick is so near to an end of the axis, which has a tick of its own, that labels touch. */
function isCrowded({ scale, min, max }: Axis, value: number): boolean {
  if (min === undefined || max === undefined) return false;
  const place = (at: number) => (scale === 'log' ? Math.log(at) : at);
  const share = (place(value) - place(min)) / (place(max) - place(min));
  const fromEnd = Math.min(share, 1 - share);
  return fromEnd > AT_END && fromEnd < CROWDED;
}

function shared(axis: Axis) {
  const { name, scale, min, max, interval, base, format } = axis;
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
      formatter: (value: number) => (isCrowded(axis, value) ? '' : format(value)),
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
