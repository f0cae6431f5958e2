/** `tmem replay --live`: a trace against any NBD server. */

import { TmemError } from '../../lib/errors.ts';
import { formatCount } from '../../lib/quantities.ts';
import { formatSize } from '../../lib/sizes.ts';
import { type LiveProgress, replayLive } from '../../replay/live/live.ts';
import { openTrace } from '../../trace/open-trace.ts';
import { printsAbout } from '../command/about.ts';
import { parseArguments } from '../command/arguments.ts';
import type { Clock } from '../command/clock.ts';
import { type CliContext, tell } from '../command/context.ts';
import { EXIT_DONE, EXIT_FAILED } from '../command/exit-codes.ts';
import { stoppable } from '../command/stoppable.ts';
import { fractionOf } from '../terminal/bars.ts';
import { DrawnLine, LINE_MS, progressBar } from '../terminal/progress-line.ts';
import { inputOptions, tracePath } from '../trace/input.ts';
import { LIVE_HELP, LIVE_OPTIONS, parseLive } from './live-options.ts';
import { formatLive } from './live-table.ts';

/** Whether the command line is for this rather than for a replay through policies. */
export function isLive(args: readonly string[]): boolean {
  return args.some((arg) => arg === '--live' || arg.startsWith('--live='));
}

function progressTo(
  line: DrawnLine,
  context: CliContext,
  clock: Clock,
): (progress: LiveProgress) => void {
  let shownMs = clock.nowMs();
  return ({ phase, done, all }) => {
    const amount = phase === 'reading' ? formatSize : formatCount;
    const text = `${phase}  ${amount(done)} of ${amount(all)}`;
    if (context.isTerminal) {
      line.draw([...progressBar(fractionOf(done, all)), `  ${text}`]);
    } else if (clock.nowMs() - shownMs >= LINE_MS) {
      shownMs = clock.nowMs();
      context.stderr(`${text}\n`);
    }
  };
}

/** Runs `tmem replay --live`. */
export async function runLive(
  args: readonly string[],
  context: CliContext,
  clock: Clock,
): Promise<number> {
  // Who asks for help need not know an address.
  const wantsHelp = args.includes('--help') || args.includes('-h');
  const parsed = parseArguments(wantsHelp ? ['-h'] : args, LIVE_OPTIONS, 'tmem replay --live');
  if (printsAbout(parsed, LIVE_HELP, context)) return EXIT_DONE;
  const files = parsed.positionals;
  if (files.length === 0) {
    throw new TmemError('usage', 'tmem replay --live needs a trace to replay; see its --help');
  }
  const { showsProgress, ...request } = parseLive(parsed);
  const line = new DrawnLine(context);
  return stoppable(context, async (signal) => {
    try {
      const paths = files.map((file) => tracePath(file, context));
      const trace = await openTrace(paths, inputOptions(parsed));
      const result = await replayLive(trace, {
        ...request,
        signal,
        ...(showsProgress && { onProgress: progressTo(line, context, clock) }),
      });
      line.clear();
      for (const warning of trace.statistics.warnings) tell(context, warning);
      const place = parsed.last('live') ?? '';
      const json = `${JSON.stringify({ target: place, ...result })}\n`;
      context.stdout(parsed.has('json') ? json : formatLive(result, place));
      return result.errors > 0 ? EXIT_FAILED : EXIT_DONE;
    } finally {
      line.clear();
    }
  });
}
