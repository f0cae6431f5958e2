/** `tmem trace`: looks at recorded workloads, converts, cuts and merges them. */

import { TmemError } from '../../lib/errors.ts';
import { nearest } from '../../lib/nearest.ts';
import { packageVersion } from '../../lib/package-version.ts';
import { COMMON_OPTIONS, type OptionTable, parseArguments } from '../arguments.ts';
import { type Clock, systemClock } from '../clock.ts';
import type { CliContext } from '../context.ts';
import { EXIT_CODE_BY_SIGNAL, EXIT_DONE } from '../exit-codes.ts';
import { formatEntry, formatOptions } from '../help.ts';
import { printable } from '../table.ts';
import { convertVerb, cutVerb, mergeVerb } from './convert.ts';
import { infoVerb } from './info.ts';
import { Progress } from './progress.ts';
import { type TraceVerb, tracePath } from './verb.ts';

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

const EXIT_CODES = `Exit codes: 0 done, 1 it failed, 2 the request cannot be carried out as it stands, 130 or 143
interrupted.
`;

export const TRACE_HELP = `Usage: tmem trace VERB TRACE... [OPTION]...

Looks at recorded workloads, converts, cuts and merges them. A trace may be compressed (.gz, .zst);
its format is told by what is in it.

Verbs:
${TRACE_VERBS.map(({ name, operands, summary }) => formatEntry(`${name} ${operands}`, summary)).join('\n')}

Options:
${formatOptions(SHARED_OPTIONS)}

tmem trace VERB --help explains the verb.

${EXIT_CODES}`;

function optionsOf(verb: TraceVerb): OptionTable<string> {
  return { ...verb.options, ...SHARED_OPTIONS };
}

/** What `tmem trace VERB --help` prints. */
export function traceVerbHelp(verb: TraceVerb): string {
  return `Usage: tmem trace ${verb.name} ${verb.operands} [OPTION]...

${verb.about}

Options:
${formatOptions(optionsOf(verb))}

${EXIT_CODES}`;
}

function findVerb(name: string): TraceVerb {
  const found = TRACE_VERBS.find((verb) => verb.name === name);
  if (found !== undefined) return found;
  const meant = nearest(
    name,
    TRACE_VERBS.map((verb) => verb.name),
  );
  const advice =
    meant === undefined ? 'see tmem trace --help' : `did you mean tmem trace ${meant}?`;
  throw new TmemError('usage', `there is no verb "${name}"; ${advice}`);
}

async function runVerb(
  verb: TraceVerb,
  args: readonly string[],
  context: CliContext,
  clock: Clock,
): Promise<number> {
  const parsed = parseArguments(args, optionsOf(verb), `tmem trace ${verb.name}`);
  if (parsed.has('help') || parsed.has('version')) {
    context.stdout(parsed.has('help') ? traceVerbHelp(verb) : `tmem ${packageVersion()}\n`);
    return EXIT_DONE;
  }
  if (parsed.positionals.length < verb.operandsMin) {
    const count = verb.operandsMin === 1 ? 'a trace' : `${verb.operandsMin} traces`;
    const sentence = `tmem trace ${verb.name} needs at least ${count}`;
    throw new TmemError('usage', `${sentence}; name the files`);
  }
  const progress = new Progress(parsed.last('progress'), context, clock);
  const signals = context.watchStopSignals();
  signals.onSecond((exitCode) => context.exit(exitCode));
  const paths = parsed.positionals.map((path) => tracePath(path, context));
  try {
    const call = { paths, parsed, context, clock, progress, stopped: signals.first };
    const { json, text, warnings } = await verb.run(call);
    for (const warning of warnings) context.stderr(`tmem: warning: ${printable(warning)}\n`);
    context.stdout(parsed.has('json') ? `${JSON.stringify(json)}\n` : text);
    return EXIT_DONE;
  } catch (error) {
    if (signals.first.aborted) return signals.exitCode ?? EXIT_CODE_BY_SIGNAL.SIGINT;
    throw error;
  } finally {
    progress.clear();
    signals.dispose();
  }
}

/** Runs `tmem trace`; `clock` is replaced in tests. */
export async function trace(
  args: readonly string[],
  context: CliContext,
  clock: Clock = systemClock,
): Promise<number> {
  const [name, ...rest] = args;
  if (name !== undefined && !name.startsWith('-')) {
    return runVerb(findVerb(name), rest, context, clock);
  }
  const parsed = parseArguments(args, SHARED_OPTIONS, 'tmem trace');
  if (parsed.has('help')) context.stdout(TRACE_HELP);
  else if (parsed.has('version')) context.stdout(`tmem ${packageVersion()}\n`);
  else throw new TmemError('usage', 'no verb was given; see tmem trace --help');
  return EXIT_DONE;
}
