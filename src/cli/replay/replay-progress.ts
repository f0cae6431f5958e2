/** How far a replay is: a bar on a terminal, now and then a line elsewhere. */

import { formatCount, formatSeconds } from '../../lib/quantities.ts';
import { formatSize } from '../../lib/sizes.ts';
import type { ReplayProgress } from '../../replay/report/replay.ts';
import type { Clock } from '../command/clock.ts';
import type { CliContext } from '../command/context.ts';
import { fractionOf } from '../terminal/bars.ts';
import { DrawnLine, LINE_MS, progressBar } from '../terminal/progress-line.ts';

const REDRAW_MS = 100;
/** What is left is not told before so much is done: it would be a guess. */
const GUESS_MS = 500;

type Phase = ReplayProgress['phase'];

const TITLES: Readonly<Record<Phase, string>> = {
  reading: 'reading',
  simulating: 'simulating',
  scanning: 'scanning',
};

/** Shows progress on stderr until `end`. */
export class ProgressLine {
  private readonly context: CliContext;
  private readonly line: DrawnLine;
  private readonly clock: Clock;
  private phase: Phase | undefined;
  private phaseStartMs = 0;
  private shownMs = 0;

  constructor(context: CliContext, clock: Clock) {
    this.context = context;
    this.line = new DrawnLine(context);
    this.clock = clock;
    this.shownMs = clock.nowMs();
  }

  /** Shows it, unless something was shown a moment ago. */
  show(progress: ReplayProgress): void {
    const nowMs = this.clock.nowMs();
    if (progress.phase !== this.phase) {
      this.phase = progress.phase;
      this.phaseStartMs = nowMs;
    }
    const { isTerminal } = this.context;
    if (nowMs - this.shownMs < (isTerminal ? REDRAW_MS : LINE_MS)) return;
    this.shownMs = nowMs;
    const text = this.describe(progress, nowMs - this.phaseStartMs);
    if (!isTerminal) {
      this.context.stderr(`${text}\n`);
      return;
    }
    const done = progressBar(fractionOf(progress.done, progress.all));
    this.line.draw(progress.all > 0 ? [...done, `  ${text}`] : [text]);
  }

  /** Clears the bar. */
  end(): void {
    this.line.clear();
  }

  private describe({ phase, done, all }: ReplayProgress, elapsedMs: number): string {
    const rate = elapsedMs > 0 ? (done / elapsedMs) * 1000 : 0;
    const amount = (value: number) =>
      phase === 'reading' ? formatSize(value) : formatCount(value);
    const words = [TITLES[phase]];
    words.push(all > 0 ? `${Math.floor(fractionOf(done, all) * 100)} %` : amount(done));
    if (elapsedMs >= GUESS_MS && rate > 0) {
      words.push(`${amount(Math.round(rate))}/s`);
      if (all > 0) words.push(`${formatSeconds((all - done) / rate)} left`);
    }
    return words.join('  ');
  }
}
