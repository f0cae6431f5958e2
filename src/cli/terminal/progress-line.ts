/** How far long work is, in a line of standard error that is drawn over again and again. */

import { TmemError } from '../../lib/errors.ts';
import { formatSeconds } from '../../lib/quantities.ts';
import { bar } from './bars.ts';
import { drawLine, type Line, plainPaint } from './line.ts';

/** Back to the start of the line, and all of it cleared. */
const CLEAR_LINE = '\r\u001b[K';
const BAR_WIDTH = 24;
const COLUMNS = 79;

/** Where a line cannot be drawn over, one is printed at most so often, milliseconds. */
export const LINE_MS = 5_000;

/** What `--progress` takes. */
const PROGRESS_CHOICES = ['auto', 'on', 'off'] as const;
export type ProgressChoice = (typeof PROGRESS_CHOICES)[number];

/** What was given for `--progress`, if anything; throws a usage error for what is no choice. */
export function parseProgress(text = 'auto'): ProgressChoice {
  const chosen = PROGRESS_CHOICES.find((each) => each === text);
  if (chosen !== undefined) return chosen;
  throw new TmemError(
    'usage',
    `--progress: there is no "${text}"; choose of ${PROGRESS_CHOICES.join(', ')}`,
  );
}

/** A bar of which the share of the work that is done, 0 to 1, is filled. */
export function progressBar(fraction: number): Line {
  return bar(fraction, BAR_WIDTH, 'good');
}

/** How long work of which `fraction` took `seconds` will still take; empty before there is any. */
export function timeLeft(seconds: number, fraction: number): string {
  return fraction > 0 ? `${formatSeconds((seconds * (1 - fraction)) / fraction)} left` : '';
}

/** Standard error, as a command prints on it. */
export interface ErrorOutput {
  stderr(text: string): void;
}

/** The line; standard error must be a terminal. */
export class DrawnLine {
  readonly #output: ErrorOutput;
  #isDrawn = false;

  constructor(output: ErrorOutput) {
    this.#output = output;
  }

  /** Draws it in the place of what was drawn before. */
  draw(line: Line): void {
    this.#output.stderr(CLEAR_LINE + drawLine(line, COLUMNS, plainPaint));
    this.#isDrawn = true;
  }

  /** Takes the line away, if there is one. */
  clear(): void {
    if (this.#isDrawn) this.#output.stderr(CLEAR_LINE);
    this.#isDrawn = false;
  }
}
