/** How far work on an image is: a bar on a terminal, a line for some of the percents elsewhere. */

import type { WorkProgress } from '../../imaging/progress.ts';
import { TmemError } from '../../lib/errors.ts';
import { formatSize } from '../../lib/sizes.ts';
import type { Clock } from '../clock.ts';
import type { CliContext } from '../context.ts';
import { drawLine, plainPaint } from '../line.ts';
import { formatSeconds } from '../quantities.ts';
import { bar, fractionOf } from '../status-bars.ts';

/** Back to the start of the line, and all of it cleared. */
const CLEAR_LINE = '\r\u001b[K';
const BAR_WIDTH = 24;
const COLUMNS = 79;
/** Between two looks at the bar; what is done sooner than that shows none. */
const REDRAW_MS = 200;
/** Where a line cannot be drawn over, one is printed at most so often. */
const LINE_MS = 5_000;

/** What `--progress` takes. */
export const PROGRESS_CHOICES = ['auto', 'on', 'off'] as const;

export class ImageProgress {
  readonly #what: string;
  readonly #context: CliContext;
  readonly #clock: Clock;
  readonly #choice: (typeof PROGRESS_CHOICES)[number];
  readonly #startMs: number;
  #shownMs: number;
  #shownPercent = 0;
  #isDrawn = false;

  /** `choice` is what was given for `--progress`; throws a usage error for anything else. */
  constructor(what: string, choice: string | undefined, context: CliContext, clock: Clock) {
    const chosen = PROGRESS_CHOICES.find((each) => each === (choice ?? 'auto'));
    if (chosen === undefined) {
      throw new TmemError('usage', `--progress: "${choice}" is none of auto, on and off`);
    }
    this.#what = what;
    this.#choice = chosen;
    this.#context = context;
    this.#clock = clock;
    this.#startMs = clock.nowMs();
    this.#shownMs = this.#startMs;
  }

  /** Shows it, unless something was shown a moment ago. */
  readonly show = ({ doneBytes, totalBytes }: WorkProgress): void => {
    if (this.#choice === 'off') return;
    const { isTerminal } = this.#context;
    const fraction = fractionOf(doneBytes, totalBytes);
    const percent = Math.floor(fraction * 100);
    // Who asked for lines gets one for every percent.
    const isAsked = this.#choice === 'on' && !isTerminal;
    if (isAsked && percent === this.#shownPercent) return;
    const nowMs = this.#clock.nowMs();
    const pauseMs = isAsked ? 0 : isTerminal ? REDRAW_MS : LINE_MS;
    if (nowMs - this.#shownMs < pauseMs) return;
    this.#shownMs = nowMs;
    this.#shownPercent = percent;
    const seconds = (nowMs - this.#startMs) / 1000;
    const left = fraction > 0 ? `${formatSeconds((seconds * (1 - fraction)) / fraction)} left` : '';
    if (!isTerminal) {
      this.#context.stderr(`${this.#what}  ${percent} %  ${left}`.trimEnd().concat('\n'));
      return;
    }
    const text = `  ${percent} %  ${formatSize(doneBytes)} of ${formatSize(totalBytes)}  ${left}`;
    const pieces = [`${this.#what} `, ...bar(fraction, BAR_WIDTH, 'good'), text];
    this.#context.stderr(CLEAR_LINE + drawLine(pieces, COLUMNS, plainPaint));
    this.#isDrawn = true;
  };

  /** Takes the bar away. */
  clear(): void {
    if (this.#isDrawn) this.#context.stderr(CLEAR_LINE);
    this.#isDrawn = false;
  }
}
