/** A line on standard error that says how far long work is, how fast, and for how long still. */

import { formatCount, formatPercent, formatRate } from '../../lib/quantities.ts';
import type { Clock } from '../command/clock.ts';
import type { CliContext } from '../command/context.ts';
import { DrawnLine, parseProgress, progressBar, timeLeft } from '../terminal/progress-line.ts';

/** Between two looks at the line. */
const DRAW_MS = 200;
/** Work that is done sooner shows no line. */
const QUIET_MS = 500;

/** Shows progress, or does not. */
export class Progress {
  readonly #line: DrawnLine;
  readonly #clock: Clock;
  readonly #isShown: boolean;
  readonly #startMs: number;
  #drawnMs: number;

  /** `choice` is what was given for `--progress`; throws a usage error for anything else. */
  constructor(choice: string | undefined, context: CliContext, clock: Clock) {
    const chosen = parseProgress(choice);
    this.#line = new DrawnLine(context);
    this.#clock = clock;
    this.#isShown = chosen === 'on' || (chosen === 'auto' && context.isTerminal);
    this.#startMs = clock.nowMs();
    this.#drawnMs = this.#startMs + QUIET_MS - DRAW_MS;
  }

  /** `done`, from 0 to 1, of the work that `what` names, and how many requests that were. */
  show(what: string, done: number, requests: number): void {
    if (!this.#isShown) return;
    const nowMs = this.#clock.nowMs();
    if (nowMs - this.#drawnMs < DRAW_MS) return;
    this.#drawnMs = nowMs;
    const seconds = (nowMs - this.#startMs) / 1000;
    const fraction = Math.min(1, Math.max(0, done));
    const counts = `${formatCount(requests)} requests  ${formatRate(requests / seconds)}`;
    const text = `  ${formatPercent(fraction)}  ${counts}  ${timeLeft(seconds, fraction)}`;
    this.#line.draw([`${what} `, ...progressBar(fraction), text]);
  }

  /** Takes the line away. */
  clear(): void {
    this.#line.clear();
  }
}
