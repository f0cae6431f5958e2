/** Lines of text in several colours, cut to the width of a terminal. */

import { cut, displayWidth, printable } from './table.ts';

/** What a piece of text is, which decides its colour. */
export type Tone = 'title' | 'quiet' | 'good' | 'warning' | 'bad' | 'data' | 'metadata' | 'buffers';

/** A piece of a line. */
export interface Span {
  readonly text: string;
  readonly tone?: Tone;
}

/** Pieces of one tone or none, strings for the latter. */
export type Line = readonly (Span | string)[];

/** Shows `text`, which is printable, in a tone. */
export type Paint = (tone: Tone, text: string) => string;

/** For files, pipes and those who set NO_COLOR. */
export const plainPaint: Paint = (_tone, text) => text;

/** Select Graphic Rendition parameters, ECMA-48 8.3.117: of the colours that every terminal has. */
const SGR: Readonly<Record<Tone, number>> = {
  title: 1,
  quiet: 2,
  good: 32,
  warning: 33,
  bad: 31,
  data: 36,
  metadata: 35,
  buffers: 34,
};

/** For a terminal. */
export const colourPaint: Paint = (tone, text) =>
  text === '' ? '' : `\u001b[${SGR[tone]}m${text}\u001b[0m`;

/** The line as it is printed, without a line end, in at most `columns` columns. */
export function drawLine(line: Line, columns: number, paint: Paint): string {
  const spans = line.map((piece): Span => (typeof piece === 'string' ? { text: piece } : piece));
  const clean = spans.map(({ text }) => printable(text));
  const isCut = displayWidth(clean.join('')) > columns;
  // The last column is the ellipsis's.
  let left = isCut ? columns - 1 : columns;
  let drawn = '';
  for (const [at, { tone }] of spans.entries()) {
    const text = clean[at] ?? '';
    const width = displayWidth(text);
    const shown = width <= left ? text : cut(text, left + 1).slice(0, -1);
    left -= Math.min(width, left);
    drawn += tone === undefined ? shown : paint(tone, shown);
  }
  return isCut && columns > 0 ? `${drawn}…` : drawn.trimEnd();
}
