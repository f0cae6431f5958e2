/** The program: finds the command, runs it, and turns whatever goes wrong into a sentence. */

import { kindOfSystemError, messageOf, systemAdvice, TmemError } from '../lib/errors.ts';
import { nearest } from '../lib/nearest.ts';
import { printsAbout } from './command/about.ts';
import { COMMON_OPTIONS, parseArguments } from './command/arguments.ts';
import { type CliContext, processContext, tell } from './command/context.ts';
import { checkEncoding } from './command/encoding.ts';
import { EXIT_CODE_BY_KIND, EXIT_DONE, EXIT_FAILED } from './command/exit-codes.ts';
import { formatEntry, formatOptions } from './command/help.ts';

interface Command {
  /** A sentence fragment for the list of commands. */
  readonly summary: string;
  /** Loads what runs it, with the arguments that follow its name, and answers the exit code. */
  readonly load: () => Promise<(args: readonly string[], context: CliContext) => Promise<number>>;
}

/** In the order of the help text; each is loaded when it is asked for, since some are large. */
const COMMANDS: Readonly<Record<string, Command>> = {
  serve: {
    summary: 'serve images over NBD (see tmem serve --help)',
    load: async () => (await import('./serve/serve.ts')).serve,
  },
  status: {
    summary: 'show what a running service does (see tmem status --help)',
    load: async () => (await import('./status/status.ts')).status,
  },
  ctl: {
    summary: 'control a running service (see tmem ctl --help)',
    load: async () => (await import('./ctl/ctl.ts')).ctl,
  },
  image: {
    summary: 'make, look at, convert and check images',
    load: async () => (await import('./image/image.ts')).image,
  },
  record: {
    summary: 'have a running service record what its clients ask',
    load: async () => (await import('./record.ts')).record,
  },
  replay: {
    summary: 'say what a cache would have hit of a recorded workload',
    load: async () => (await import('./replay/replay.ts')).runReplay,
  },
  trace: {
    summary: 'look at, convert, cut and merge recorded workloads',
    load: async () => (await import('./trace/trace.ts')).trace,
  },
};

function helpText(): string {
  const entries = Object.entries(COMMANDS)
    .map(([name, { summary }]) => formatEntry(name, summary))
    .join('\n');
  return `Usage: tmem COMMAND [OPTION]... [ARGUMENT]...

Serves block images over NBD and answers the pages in use from compressed memory.

Commands:
${entries}

Options:
${formatOptions(COMMON_OPTIONS)}

tmem COMMAND --help explains the command. Exit codes: 0 done, 1 failed while running, 2 the request
cannot be carried out as it stands.
`;
}

function refuseCommand(name: string): never {
  const meant = nearest(name, Object.keys(COMMANDS));
  const advice = meant === undefined ? 'see tmem --help' : `did you mean tmem ${meant}?`;
  throw new TmemError('usage', `there is no command "${name}"; ${advice}`);
}

/** Options before a command: only those that need none. */
async function runWithoutCommand(args: readonly string[], context: CliContext): Promise<number> {
  const parsed = parseArguments(args, COMMON_OPTIONS, 'tmem');
  if (printsAbout(parsed, helpText(), context)) return EXIT_DONE;
  throw new TmemError('usage', 'no command was given; try tmem serve, or tmem --help');
}

async function dispatch(args: readonly string[], context: CliContext): Promise<number> {
  const [name, ...rest] = args;
  if (name === undefined || name.startsWith('-')) return runWithoutCommand(args, context);
  if (name === 'help') return dispatch([...rest, '--help'], context);
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (command === undefined) return refuseCommand(name);
  const run = await command.load();
  return run(rest, context);
}

/** A call of the system that nobody foresaw to fail: its message names the call, and the path if any. */
function isOfSystem(error: unknown): boolean {
  return error instanceof Error && 'syscall' in error && 'errno' in error;
}

/** An array for which the system had no memory, or the process no addresses; V8's own words. */
function isOfMemory(error: unknown): boolean {
  return error instanceof RangeError && error.message === 'Array buffer allocation failed';
}

/** What the user reads of a failure. A stack trace is for defects of this program only. */
function report(error: unknown, context: CliContext): number {
  if (error instanceof TmemError) {
    tell(context, error.message);
    return EXIT_CODE_BY_KIND[error.kind];
  }
  if (isOfSystem(error)) {
    const advice = systemAdvice(error, 'check the disk or the path');
    tell(context, `the system failed: ${messageOf(error)}; ${advice}`);
    return EXIT_CODE_BY_KIND[kindOfSystemError(error)];
  }
  if (isOfMemory(error)) {
    const advice = 'take less of it, or let the process have more (ulimit -v)';
    tell(context, `the system gave no more memory; ${advice}`);
    return EXIT_CODE_BY_KIND['no-space'];
  }
  const trace = error instanceof Error ? (error.stack ?? error.message) : String(error);
  context.stderr(`tmem: this is a defect in tmem, please report it:\n${trace}\n`);
  return EXIT_FAILED;
}

/**
 * Runs the program with `args`, which do not include its own name, and answers its exit code. What it
 * printed is out then: whoever called may end the process.
 */
export async function main(
  args: readonly string[],
  context: CliContext = processContext(),
): Promise<number> {
  try {
    checkEncoding(args);
    const code = await dispatch(args, context);
    await context.printed();
    return code;
  } catch (error) {
    const code = report(error, context);
    await context.printed();
    return code;
  }
}
