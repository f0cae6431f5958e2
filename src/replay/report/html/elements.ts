/** Pieces of a page, as text. Whatever comes from a trace goes through `escapeHtml`. */

import type { LineStyle } from '../charts/line-chart.ts';

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** `text` as it may stand in an element or in an attribute. */
export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => ENTITIES[character] ?? '');
}

/** A cell of a table: text, or a number that stands at the right. */
export type Cell = string | { readonly number: string; readonly isBest?: boolean };

export interface TableData {
  /** What the table shows, for those who do not see what is around it. */
  readonly caption: string;
  /** Titles; those of numbers are in braces, as their cells are. */
  readonly head: readonly Cell[];
  readonly rows: readonly (readonly Cell[])[];
}

function cell(content: Cell, tag: 'td' | 'th', scope = ''): string {
  if (typeof content === 'string') return `<${tag}${scope}>${escapeHtml(content)}</${tag}>`;
  const isBest = content.isBest ? ' best' : '';
  return `<${tag} class="n${isBest}"${scope}>${escapeHtml(content.number)}</${tag}>`;
}

/** A table with more columns than this is set smaller. */
const COLUMNS_MANY = 12;

/** A table whose first column names its rows. It scrolls by itself where it is too wide. */
export function table({ caption, head, rows }: TableData): string {
  const titles = head.map((content) => cell(content, 'th', ' scope="col"')).join('');
  const body = rows.map((row) => {
    const [first = '', ...others] = row;
    const cells = others.map((content) => cell(content, 'td')).join('');
    return `<tr>${cell(first, 'th', ' scope="row"')}${cells}</tr>`;
  });
  const look = head.length > COLUMNS_MANY ? ' class="many"' : '';
  return `<div class="scroll" tabindex="0" role="region" aria-label="${escapeHtml(caption)}"><table${look}>
<caption>${escapeHtml(caption)}</caption>
<thead><tr>${titles}</tr></thead>
<tbody>
${body.join('\n')}
</tbody>
</table></div>`;
}

/** One entry of a legend: the line as it is drawn, and its name. */
export interface LegendEntry {
  readonly name: string;
  readonly style: LineStyle | { readonly colour: string; readonly box: 'plain' | 'striped' };
}

function swatch(style: LegendEntry['style']): string {
  if ('box' in style) {
    const fill = style.box === 'striped' ? ' fill-opacity=".45" stroke-width="1.2"' : '';
    return (
      `<svg width="14" height="12" aria-hidden="true"><rect x="1" y="1" width="12" height="10" ` +
      `fill="${style.colour}" stroke="${style.colour}"${fill}/></svg>`
    );
  }
  const dash = style.dash.length === 0 ? '' : ` stroke-dasharray="${style.dash.join(' ')}"`;
  return (
    `<svg width="34" height="12" aria-hidden="true"><path d="M0 6H34" fill="none" ` +
    `stroke="${style.colour}" stroke-width="${style.width}"${dash}/></svg>`
  );
}

function legend(entries: readonly LegendEntry[]): string {
  if (entries.length === 0) return '';
  const items = entries.map(({ name, style }) => `<li>${swatch(style)}${escapeHtml(name)}</li>`);
  return `<ul class="legend">${items.join('')}</ul>\n`;
}

/** A chart with all that belongs to it. */
export interface Figure {
  readonly id: string;
  readonly title: string;
  /** What the chart shows, in a sentence or two: read aloud in its place. */
  readonly label: string;
  readonly legend: readonly LegendEntry[];
  /** The drawing. */
  readonly svg: string;
  /** How many lines, or kinds of bars, are in it. */
  readonly seriesCount: number;
  /** All its numbers. */
  readonly data: TableData;
  /** What a reader should know; HTML. */
  readonly note?: string;
}

/** The chart, its legend, and its numbers as a table that can be opened. */
export function figure(parts: Figure): string {
  const { id, title, label, svg, seriesCount, data, note } = parts;
  const remark = note === undefined ? '' : `<p class="note">${note}</p>\n`;
  return `<figure id="${id}">
<figcaption>${escapeHtml(title)}</figcaption>
${legend(parts.legend)}<div class="chart" role="img" aria-label="${escapeHtml(label)}" data-series="${seriesCount}">
${svg}
</div>
${remark}<details><summary>Numbers</summary>
${table(data)}
</details>
</figure>`;
}

/** A part of the page. */
export function section(id: string, title: string, intro: string, content: string): string {
  const lead = intro === '' ? '' : `<p class="intro">${intro}</p>\n`;
  return `<section id="${id}">
<h2>${escapeHtml(title)}</h2>
${lead}${content}
</section>`;
}
