/** A line on standard error that says how far long work is, how fast, and for how long still. */

import { TmemError } from '../../lib/errors.ts';
import type { Clock } from '../clock.ts';
import type { CliContext } from '../context.ts';
import { drawLine, plainPaint } from '../line.ts';
import { formatCount, formatPercent, formatRate, formatSeconds } from '../quantities.ts';
import { bar } from '../status-bars.ts';

/** Between two looks at the line. */
const DRAW_MS = 200;
/** Work that is done sooner shows no line. */
const QUIET_MS = 500;
const BAR_WIDTH = 24;
const COLUMNS = 79;
/** Back to the start of the line, and all of it cleared. */
const CLEAR_LINE = '\r\u001b[K';

/** What `--progress` takes. */
export const PROGRESS_CHOICES = ['auto', 'on', 'off'] as const;

/** Shows progress, or does not. */
export class Progress {
  readonly #context: CliContext;
  readonly #clock: Clock;
  readonly #isShown: boolean;
  readonly #startMs: number;
  #drawnMs: number;
  #isDrawn = false;

  /** `choice` is what was given for `--progress`; throws a usage error for anything else. */
  constructor(choice: string | undefined, context: CliContext, clock: Clock) {
    const chosen = PROGRESS_CHOICES.find((each) => each === (choice ?? 'auto'));
    if (chosen === undefined) {
      throw new TmemError('usage', `--progress: "${choice}" is none of auto, on and off`);
    }
    this.#context = context;
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
    const left = fraction > 0 ? `${formatSeconds((seconds * (1 - fraction)) / fraction)} left` : '';
    const counts = `${formatCount(requests)} requests  ${formatRate(requests / seconds)}`;
    const text = `  ${formatPercent(fraction)}  ${counts}  ${left}`;
    const line = drawLine(
      [`${what} `, ...bar(fraction, BAR_WIDTH, 'good'), text],
      COLUMNS,
      plainPaint,
    );
    this.#context.stderr(CLEAR_LINE + line);
    this.#isDrawn = true;
  }

  /** Takes the line away. */
  clear(): void {
    if (this.#isDrawn) this.#context.stderr(CLEAR_LINE);
    this.#isDrawn = false;
  }
}
