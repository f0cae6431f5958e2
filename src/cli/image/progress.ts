/** How far work on an image is: a bar on a terminal, a line for some of the percents elsewhere. */

import type { WorkProgress } from '../../imaging/progress.ts';
import { formatSize } from '../../lib/sizes.ts';
import type { Clock } from '../command/clock.ts';
import type { CliContext } from '../command/context.ts';
import { fractionOf } from '../terminal/bars.ts';
import {
  DrawnLine,
  LINE_MS,
  type ProgressChoice,
  parseProgress,
  progressBar,
  timeLeft,
} from '../terminal/progress-line.ts';

/** Between two looks at the bar; what is done sooner than that shows none. */
const REDRAW_MS = 200;

export class ImageProgress {
  readonly #what: string;
  readonly #context: CliContext;
  readonly #line: DrawnLine;
  readonly #clock: Clock;
  readonly #choice: ProgressChoice;
  readonly #startMs: number;
  #shownMs: number;
  #shownPercent = 0;

  /** `choice` is what was given for `--progress`; throws a usage error for anything else. */
  constructor(what: string, choice: string | undefined, context: CliContext, clock: Clock) {
    this.#what = what;
    this.#choice = parseProgress(choice);
    this.#context = context;
    this.#line = new DrawnLine(context);
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
    const left = timeLeft(seconds, fraction);
    if (!isTerminal) {
      this.#context.stderr(`${this.#what}  ${percent} %  ${left}`.trimEnd().concat('\n'));
      return;
    }
    const text = `  ${percent} %  ${formatSize(doneBytes)} of ${formatSize(totalBytes)}  ${left}`;
    this.#line.draw([`${this.#what} `, ...progressBar(fraction), text]);
  };

  /** Takes the bar away. */
  clear(): void {
    this.#line.clear();
  }
}
