/** Bars that show a part of a whole. */

import type { Span, Tone } from './line.ts';

const FULL = '█';
const EMPTY = '░';
/** A cell filled from the left by one to seven eighths. */
const EIGHTHS = ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉'] as const;

/** `value`, or the bound that it is beyond; not-a-number is 0. */
function within(value: number, max: number): number {
  return value > 0 ? Math.min(value, max) : 0;
}

/** What part of `whole` the `part` is, 0 to 1; of nothing it is 0. */
export function fractionOf(part: number, whole: number): number {
  return whole > 0 ? within(part / whole, 1) : 0;
}

/**
 * A bar of exactly `width` columns of which `fraction`, 0 to 1, is filled to the eighth of a column.
 * What is more than nothing shows, and what is less than all leaves something free.
 */
export function bar(fraction: number, width: number, tone: Tone): Span[] {
  const eighths = width * 8;
  let filled = Math.round(within(fraction, 1) * eighths);
  if (fraction > 0) filled = Math.max(1, filled);
  if (fraction < 1) filled = Math.min(eighths - 1, filled);
  filled = within(filled, eighths);
  const done = FULL.repeat(Math.floor(filled / 8)) + (EIGHTHS[filled % 8] ?? '');
  return [
    { text: done, tone },
    { text: EMPTY.repeat(width - done.length), tone: 'quiet' },
  ];
}

/** One part of a stacked bar. */
export interface Segment {
  readonly value: number;
  /** What it is drawn with, so that parts can be told apart without colours. */
  readonly glyph: string;
  readonly tone: Tone;
}

/** A bar of exactly `width` columns of `whole`, with the parts one behind the other. */
export function stackedBar(segments: readonly Segment[], whole: number, width: number): Span[] {
  const spans: Span[] = [];
  let sum = 0;
  let drawn = 0;
  for (const { value, glyph, tone } of segments) {
    sum += value;
    // Ends are rounded, not lengths: the parts together end where their sum does.
    const end = Math.max(drawn, Math.round(fractionOf(sum, whole) * width));
    spans.push({ text: glyph.repeat(end - drawn), tone });
    drawn = end;
  }
  return [...spans, { text: EMPTY.repeat(width - drawn), tone: 'quiet' }];
}
