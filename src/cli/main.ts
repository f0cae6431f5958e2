/** The program: finds the command, runs it, and turns whatever goes wrong into a sentence. */

import { TmemError } from '../lib/errors.ts';
import { nearest } from '../lib/nearest.ts';
import { packageVersion } from '../lib/package-version.ts';
import { COMMON_OPTIONS, parseArguments } from './arguments.ts';
import type { Command } from './command.ts';
import { type CliContext, processContext } from './context.ts';
import { EXIT_CODE_BY_KIND, EXIT_DONE, EXIT_FAILED } from './exit-codes.ts';
import { formatEntry, formatOptions } from './help.ts';

/** In the order of the help text; each is loaded when it is asked for, since some are large. */
const COMMANDS: Readonly<Record<string, () => Promise<Command>>> = {
  serve: async () => (await import('./serve.ts')).serveCommand,
  status: async () => (await import('./status.ts')).statusCommand,
  ctl: async () => (await import('./ctl.ts')).ctlCommand,
  image: async () => (await import('./image/image.ts')).imageCommand,
  record: async () => (await import('./record.ts')).recordCommand,
  replay: async () => (await import('./replay/replay.ts')).replayCommand,
  trace: async () => (await import('./trace/trace.ts')).traceCommand,
};

async function helpText(): Promise<string> {
  const commands = await Promise.all(Object.values(COMMANDS).map((load) => load()));
  const entries = commands.map(({ name, summary }) => formatEntry(name, summary)).join('\n');
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
  if (parsed.has('help')) context.stdout(await helpText());
  else if (parsed.has('version')) context.stdout(`tmem ${packageVersion()}\n`);
  else throw new TmemError('usage', 'no command was given; try tmem serve, or tmem --help');
  return EXIT_DONE;
}

async function dispatch(args: readonly string[], context: CliContext): Promise<number> {
  const [name, ...rest] = args;
  if (name === undefined || name.startsWith('-')) return runWithoutCommand(args, context);
  if (name === 'help') return dispatch([...rest, '--help'], context);
  const load = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  return load === undefined ? refuseCommand(name) : (await load()).run(rest, context);
}

/** What the user reads of a failure. A stack trace is for defects of this program only. */
function report(error: unknown, context: CliContext): number {
  if (error instanceof TmemError) {
    context.stderr(`tmem: ${error.message}\n`);
    return EXIT_CODE_BY_KIND[error.kind];
  }
  const trace = error instanceof Error ? (error.stack ?? error.message) : String(error);
  context.stderr(`tmem: this is a defect in tmem, please report it:\n${trace}\n`);
  return EXIT_FAILED;
}

/** Runs the program with `args`, which do not include its own name, and answers its exit code. */
export async function main(
  args: readonly string[],
  context: CliContext = processContext(),
): Promise<number> {
  try {
    return await dispatch(args, context);
  } catch (error) {
    return report(error, context);
  }
}
