/** A map of address over time, whose colours say how much was asked for. */

import type { EChartsOption } from 'echarts';
import { type Axis, bottomAxis, leftAxis } from './axes.ts';
import { WIDE } from './line-chart.ts';
import { drawChart } from './svg.ts';

/** Colours of the style sheet, from `--h1`, the least, on. */
export const HEAT_LEVELS = 7;

/** A map: rows of cells from the lowest address up, each row from the first time on. */
export interface HeatChart {
  readonly id: string;
  readonly x: Axis;
  readonly y: Axis;
  readonly rows: readonly (readonly number[])[];
  /** What a column is on the x axis, and a row on the y axis. */
  readonly columnWidth: number;
  readonly rowHeight: number;
  readonly height?: number;
}

/** The level of a cell, 0 for an empty one: each level is the same factor above the one before. */
export function heatLevel(value: number, least: number, most: number): number {
  if (value <= 0) return 0;
  if (most <= least) return HEAT_LEVELS;
  const share = Math.log(value / least) / Math.log(most / least);
  return 1 + Math.min(HEAT_LEVELS - 1, Math.floor(share * HEAT_LEVELS));
}

/** The least and the most of the cells that are not empty. */
export function heatRange(rows: HeatChart['rows']): { least: number; most: number } {
  let least = Number.POSITIVE_INFINITY;
  let most = 0;
  for (const value of rows.flat()) {
    if (value <= 0) continue;
    least = Math.min(least, value);
    most = Math.max(most, value);
  }
  return { least, most };
}

/** Neighbours of one level in a row are one box: `[column, row, columns, level]`. */
function boxesOf(rows: HeatChart['rows']): number[][] {
  const { least, most } = heatRange(rows);
  const boxes: number[][] = [];
  for (const [row, cells] of rows.entries()) {
    let start = 0;
    for (let column = 1; column <= cells.length; column++) {
      const level = heatLevel(cells[start] ?? 0, least, most);
      const isSame = column < cells.length && heatLevel(cells[column] ?? 0, least, most) === level;
      if (isSame) continue;
      if (level > 0) boxes.push([start, row, column - start, level]);
      start = column;
    }
  }
  return boxes;
}

/** The chart as SVG text. */
export function drawHeatChart(chart: HeatChart): string {
  const { id, x, y, rows, columnWidth, rowHeight, height = 340 } = chart;
  const option: EChartsOption = {
    grid: { left: 84, right: 18, top: 14, bottom: 52 },
    xAxis: bottomAxis(x),
    yAxis: { ...leftAxis(y), nameGap: 66 },
    series: {
      type: 'custom',
      silent: true,
      data: boxesOf(rows),
      dimensions: ['column', 'row', 'columns', 'level'],
      encode: { x: 0, y: 1 },
      clip: true,
      renderItem: (_parameters, api) => {
        const column = Number(api.value(0));
        const row = Number(api.value(1));
        const columns = Number(api.value(2));
        const [left = 0, bottom = 0] = api.coord([column * columnWidth, row * rowHeight]);
        const [right = 0, top = 0] = api.coord([
          (column + columns) * columnWidth,
          (row + 1) * rowHeight,
        ]);
        return {
          type: 'rect',
          // A little more than the cell: no gaps are seen where boxes meet.
          shape: { x: left, y: top, width: right - left + 0.4, height: bottom - top + 0.4 },
          style: { fill: `var(--h${api.value(3)})` },
        };
      },
    },
  };
  return drawChart({ id, width: WIDE, height, option });
}
