/**
 * Charts as SVG text, drawn by ECharts without a browser. Colours are variables of the page's style
 * sheet, so that one drawing serves light, dark and paper.
 */

import { type EChartsOption, init, version } from 'echarts';

/** Of the library that draws the charts. */
export const CHARTS_VERSION = version;

/** The variables that charts are coloured with; the style sheet gives them their values. */
export const COLOURS = {
  ink: 'var(--ink)',
  muted: 'var(--muted)',
  grid: 'var(--grid)',
  axis: 'var(--axis)',
  shade: 'var(--shade)',
  accent: 'var(--s0)',
  second: 'var(--s1)',
} as const;

/** A drawing, and what it is called inside the page. */
export interface Drawing {
  /** Unique in the page: letters, digits and hyphens. */
  readonly id: string;
  readonly width: number;
  readonly height: number;
  readonly option: EChartsOption;
}

/** What ECharts writes for its own scripts, which are not there. */
const FOR_SCRIPTS = /\s(?:ecmeta_\w+|class|pointer-events)="[^"]*"/g;
const HOVER_STYLES = /<style\s*>[\s\S]*?<\/style>/g;
/** Names count up for as long as the process lives, and would not be the same in the next run. */
const NAMES = /\bzr\d+-/g;

/**
 * The chart as an `<svg>` element without a width of its own. It is hidden from screen readers:
 * whoever puts it in a page says what it shows, and gives its numbers. The same for the same
 * option, in every process.
 */
export function drawChart({ id, width, height, option }: Drawing): string {
  const chart = init(null, null, { renderer: 'svg', ssr: true, width, height });
  try {
    chart.setOption({
      animation: false,
      backgroundColor: 'transparent',
      darkMode: false,
      textStyle: { fontFamily: 'inherit', color: COLOURS.muted },
      ...option,
    });
    return chart
      .renderToSVGString()
      .replace(HOVER_STYLES, '')
      .replace(FOR_SCRIPTS, '')
      .replace(NAMES, `${id}-`)
      .replace(/^<svg[^>]*>/, `<svg viewBox="0 0 ${width} ${height}" aria-hidden="true">`)
      .replace(/\n+/g, '\n')
      .trim();
  } finally {
    chart.dispose();
  }
}
