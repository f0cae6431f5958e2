/** `tmem trace`: looks at recorded workloads, converts, cuts and merges them. */

import { TmemError } from '../../lib/errors.ts';
import { COMMON_OPTIONS, type OptionTable } from '../command/arguments.ts';
import { type Clock, systemClock } from '../command/clock.ts';
import { type CliContext, tell } from '../command/context.ts';
import { EXIT_DONE } from '../command/exit-codes.ts';
import { stoppable } from '../command/stoppable.ts';
import { tableOf, Verbs } from '../command/verbs.ts';
import { convertVerb, cutVerb, mergeVerb } from './convert.ts';
import { infoVerb } from './info.ts';
import { tracePath } from './input.ts';
import { Progress } from './progress.ts';
import type { TraceVerb } from './verb.ts';

/** In the order of the help text. */
export const TRACE_VERBS: readonly TraceVerb[] = [infoVerb, convertVerb, cutVerb, mergeVerb];

const SHARED_OPTIONS = {
  json: { help: 'print what came of it as one line of JSON' },
  progress: {
    value: 'WHEN',
    help: 'show how far it is on standard error: auto, on or off\n(default: auto, where that is a terminal)',
  },
  ...COMMON_OPTIONS,
} as const satisfies OptionTable<string>;

const VERBS = new Verbs({
  command: 'tmem trace',
  synopsis: 'VERB TRACE... [OPTION]...',
  about: `Looks at recorded workloads, converts, cuts and merges them. A trace may be compressed (.gz, .zst);
its format is told by what is in it.`,
  table: tableOf(TRACE_VERBS),
  options: SHARED_OPTIONS,
  exitCodes: `Exit codes: 0 done, 1 it failed, 2 the request cannot be carried out as it stands, 130 or 143
interrupted.
`,
});

export const TRACE_HELP = VERBS.help(TRACE_VERBS);

/** What `tmem trace VERB --help` prints. */
export function traceVerbHelp(verb: TraceVerb): string {
  return VERBS.helpOf(verb);
}

async function runVerb(
  verb: TraceVerb,
  args: readonly string[],
  context: CliContext,
  clock: Clock,
  stopped: AbortSignal,
): Promise<number> {
  const parsed = VERBS.parse(verb, args, context);
  if (parsed === undefined) return EXIT_DONE;
  if (parsed.positionals.length < verb.operandsMin) {
    const count = verb.operandsMin === 1 ? 'a trace' : `${verb.operandsMin} traces`;
    const sentence = `tmem trace ${verb.name} needs at least ${count}`;
    throw new TmemError('usage', `${sentence}; name the files`);
  }
  const progress = new Progress(parsed.last('progress'), context, clock);
  const paths = parsed.positionals.map((path) => tracePath(path, context));
  try {
    const call = { paths, parsed, context, clock, progress, stopped };
    const { json, text, warnings } = await verb.run(call);
    for (const warning of warnings) tell(context, `warning: ${warning}`);
    context.stdout(parsed.has('json') ? `${JSON.stringify(json)}\n` : text);
    return EXIT_DONE;
  } finally {
    progress.clear();
  }
}

/** Runs `tmem trace`; `clock` is replaced in tests. */
export async function trace(
  args: readonly string[],
  context: CliContext,
  clock: Clock = systemClock,
): Promise<number> {
  const [name, ...rest] = args;
  if (name === undefined || name.startsWith('-')) return VERBS.runWithout(args, context);
  return stoppable(context, async (stopped) => {
    return runVerb(await VERBS.find(name), rest, context, clock, stopped);
  });
}
