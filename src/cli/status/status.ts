/** `tmem status`: what a running service holds and how well it does, once or over and over. */

import { serviceStatus } from '../../admin/schemas.ts';
import { TmemError } from '../../lib/errors.ts';
import type { AdminClient } from '../admin/client.ts';
import { ADMIN_OPTIONS, adminClient } from '../admin/options.ts';
import type { Sample } from '../admin/status-changes.ts';
import { printsAbout } from '../command/about.ts';
import { COMMON_OPTIONS, type OptionTable, parseArguments } from '../command/arguments.ts';
import { type Clock, systemClock } from '../command/clock.ts';
import type { CliContext } from '../command/context.ts';
import { EXIT_DONE } from '../command/exit-codes.ts';
import { formatOptions } from '../command/help.ts';
import { BlockOutput, JsonOutput, ScreenOutput, type StatusOutput } from './outputs.ts';

const SECONDS_DEFAULT = 1;
const SECONDS_MIN = 0.1;
const SECONDS_MAX = 3600;

/** One who watches is told soon that the service hangs. */
const WATCHED_ANSWER_MS_MAX = 3_000;

const STATUS_OPTIONS = {
  watch: {
    value: 'SECONDS',
    isValueOptional: true,
    help: `again and again, every ${SECONDS_DEFAULT} s unless told, until\nCtrl-C; on a terminal in place`,
  },
  json: { help: 'print the status as one line of JSON' },
  ...ADMIN_OPTIONS,
  ...COMMON_OPTIONS,
} as const satisfies OptionTable<string>;

export const STATUS_HELP = `Usage: tmem status [OPTION]...

Prints what a running tmem serve does: memory, layers, and for each export its hit ratio, dirty
bytes, memory and compression. With --watch, "now" is the hit ratio since the last look, and
rates are per second.

Options:
${formatOptions(STATUS_OPTIONS)}

Colours are used on a terminal only, and not if NO_COLOR is set. A service that is lost while it is
watched is waited for.

Exit codes: 0 done or interrupted while watching, 1 the service cannot be reached, 2 the request
cannot be carried out as it stands.
`;

function parseInterval(text: string): number {
  if (text === '') return SECONDS_DEFAULT * 1000;
  const seconds = /^\d{1,6}(?:\.\d{1,6})?$/.test(text) ? Number(text) : Number.NaN;
  if (seconds >= SECONDS_MIN && seconds <= SECONDS_MAX) return seconds * 1000;
  const sentence = `--watch: "${text.slice(0, 40)}" is not a time to wait`;
  throw new TmemError('usage', `${sentence}; give ${SECONDS_MIN} to ${SECONDS_MAX} seconds`);
}

async function look(
  client: AdminClient,
  clock: Clock,
  options?: { readonly signal: AbortSignal; readonly timeoutMs: number },
): Promise<Sample> {
  const status = await client.ask('GET', '/v1/status', serviceStatus, options);
  return { status, atMs: clock.nowMs() };
}

/** Looks every `intervalMs` until `stop` is aborted; what fails is told and tried again. */
async function lookAgain(
  client: AdminClient,
  output: StatusOutput,
  intervalMs: number,
  clock: Clock,
  stop: AbortSignal,
): Promise<void> {
  for (;;) {
    await clock.pause(intervalMs, stop);
    if (stop.aborted) return;
    try {
      output.show(await look(client, clock, { signal: stop, timeoutMs: WATCHED_ANSWER_MS_MAX }));
    } catch (error) {
      if (stop.aborted) return;
      if (!(error instanceof TmemError)) throw error;
      output.lose(error);
    }
  }
}

async function watch(
  client: AdminClient,
  context: CliContext,
  makeOutput: () => StatusOutput,
  intervalMs: number,
  clock: Clock,
): Promise<void> {
  // A service that is not there at first was named wrongly: that ends it before it takes the screen.
  const first = await look(client, clock);
  const stops = context.watchStopSignals();
  const output = makeOutput();
  stops.onSecond((exitCode) => {
    output.end();
    context.exit(exitCode);
  });
  try {
    output.show(first);
    const stop = AbortSignal.any([stops.first, context.unread]);
    await lookAgain(client, output, intervalMs, clock, stop);
  } finally {
    output.end();
    stops.dispose();
  }
}

/** Runs `tmem status`; `clock` is replaced in tests. */
export async function status(
  args: readonly string[],
  context: CliContext,
  clock: Clock = systemClock,
): Promise<number> {
  const parsed = parseArguments(args, STATUS_OPTIONS, 'tmem status');
  if (printsAbout(parsed, STATUS_HELP, context)) return EXIT_DONE;
  const [surplus] = parsed.positionals;
  if (surplus !== undefined) {
    throw new TmemError(
      'usage',
      `tmem status takes options only, not "${surplus}"; see its --help`,
    );
  }
  const client = adminClient(parsed, context);
  const isWatched = parsed.has('watch');
  const { terminal } = context;
  const makeOutput = (): StatusOutput => {
    if (parsed.has('json')) return new JsonOutput(context);
    if (!isWatched || terminal === undefined || context.env.TERM === 'dumb') {
      return new BlockOutput(context, client.place);
    }
    return new ScreenOutput(context, terminal, client.place);
  };
  const intervalMs = parseInterval(parsed.last('watch') ?? '');
  if (isWatched) await watch(client, context, makeOutput, intervalMs, clock);
  else makeOutput().show(await look(client, clock));
  return EXIT_DONE;
}
