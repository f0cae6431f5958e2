/** `tmem image`: makes, looks at, converts, checks and changes images in any of the formats. */

import { TmemError } from '../../lib/errors.ts';
import { nearest } from '../../lib/nearest.ts';
import { packageVersion } from '../../lib/package-version.ts';
import { COMMON_OPTIONS, type OptionTable, parseArguments } from '../arguments.ts';
import { type Clock, systemClock } from '../clock.ts';
import type { Command } from '../command.ts';
import type { CliContext } from '../context.ts';
import { EXIT_CODE_BY_SIGNAL, EXIT_DONE } from '../exit-codes.ts';
import { formatEntry, formatOptions } from '../help.ts';
import { printable } from '../table.ts';
import { checkVerb, repairVerb } from './check.ts';
import { commitVerb } from './commit.ts';
import { compareVerb } from './compare.ts';
import { convertVerb } from './convert.ts';
import { createVerb } from './create.ts';
import { infoVerb } from './info.ts';
import { mapVerb } from './map.ts';
import { measureVerb } from './measure.ts';
import { ImageProgress } from './progress.ts';
import { rebaseVerb } from './rebase.ts';
import { resizeVerb } from './resize.ts';
import type { ImageVerb } from './verb.ts';

/** In the order of the help text. */
export const IMAGE_VERBS: readonly ImageVerb[] = [
  createVerb,
  infoVerb,
  mapVerb,
  checkVerb,
  repairVerb,
  convertVerb,
  compareVerb,
  measureVerb,
  resizeVerb,
  commitVerb,
  rebaseVerb,
];

const SHARED_OPTIONS = {
  json: { help: 'print what came of it as JSON' },
  progress: {
    value: 'WHEN',
    help: 'show how far it is on standard error: on, off or auto\n(default: auto, a bar on a terminal, elsewhere a line\nevery five seconds)',
  },
  ...COMMON_OPTIONS,
} as const satisfies OptionTable<string>;

const EXIT_CODES = `Exit codes: 0 done, 1 it failed, 2 the request cannot be carried out as it stands, 130 interrupted.
`;

export const IMAGE_HELP = `Usage: tmem image VERB FILE... [OPTION]...

Makes, looks at, converts, checks and changes images: raw, qcow2, qed, qcow, vmdk, cow and luks.
A format is what the file's name ends in, or what --format says, never what is in the file.

Verbs:
${IMAGE_VERBS.map(({ name, operands, summary }) => formatEntry(`${name} ${operands}`, summary)).join('\n')}

Options:
${formatOptions(SHARED_OPTIONS)}

tmem image VERB --help explains the verb.

${EXIT_CODES}`;

function optionsOf(verb: ImageVerb): OptionTable<string> {
  return { ...verb.options, ...SHARED_OPTIONS };
}

/** What `tmem image VERB --help` prints. */
export function imageVerbHelp(verb: ImageVerb): string {
  return `Usage: tmem image ${verb.name} ${verb.operands} [OPTION]...

${verb.about}

Options:
${formatOptions(optionsOf(verb))}

${verb.exitCodes ?? EXIT_CODES}`;
}

function findVerb(name: string): ImageVerb {
  const found = IMAGE_VERBS.find((verb) => verb.name === name);
  if (found !== undefined) return found;
  const names = IMAGE_VERBS.map((verb) => verb.name);
  const meant = nearest(name, names);
  const advice =
    meant === undefined ? 'see tmem image --help' : `did you mean tmem image ${meant}?`;
  throw new TmemError('usage', `there is no verb "${name}"; ${advice}`);
}

function checkCount(verb: ImageVerb, operands: readonly string[]): void {
  const { name, operandsMin, operandsMax } = verb;
  if (operands.length >= operandsMin && operands.length <= operandsMax) return;
  const problem = operands.length < operandsMin ? 'is missing something' : 'was given too much';
  throw new TmemError(
    'usage',
    `tmem image ${name} ${problem}; write tmem image ${name} ${verb.operands}`,
  );
}

/** Sets aside what would look like an option: a size to be taken off. */
function splitSigned(verb: ImageVerb, args: readonly string[]): [string[], string[]] {
  const isSigned = (text: string) => verb.hasSignedOperand === true && /^-\d/.test(text);
  return [args.filter((text) => !isSigned(text)), args.filter(isSigned)];
}

async function runVerb(
  verb: ImageVerb,
  args: readonly string[],
  context: CliContext,
  clock: Clock,
): Promise<number> {
  const [others, signed] = splitSigned(verb, args);
  const parsed = parseArguments(others, optionsOf(verb), `tmem image ${verb.name}`);
  if (parsed.has('help') || parsed.has('version')) {
    context.stdout(parsed.has('help') ? imageVerbHelp(verb) : `tmem ${packageVersion()}\n`);
    return EXIT_DONE;
  }
  const operands = [...parsed.positionals, ...signed];
  checkCount(verb, operands);
  const progress = new ImageProgress(verb.name, parsed.last('progress'), context, clock);
  const signals = context.watchStopSignals();
  signals.onSecond((exitCode) => context.exit(exitCode));
  const warn = (message: string) => context.stderr(`tmem: warning: ${printable(message)}\n`);
  try {
    const call = { operands, parsed, context, progress, stopped: signals.first, warn };
    const { json, text, exitCode } = await verb.run(call);
    progress.clear();
    if (text !== undefined) {
      context.stdout(parsed.has('json') ? `${JSON.stringify(json)}\n` : text);
    }
    return exitCode ?? EXIT_DONE;
  } catch (error) {
    if (signals.first.aborted) return signals.exitCode ?? EXIT_CODE_BY_SIGNAL.SIGINT;
    throw error;
  } finally {
    progress.clear();
    signals.dispose();
  }
}

/** The exit codes of some verbs are those that scripts know of qemu-img. */
async function runWithCodes(
  verb: ImageVerb,
  args: readonly string[],
  context: CliContext,
  clock: Clock,
): Promise<number> {
  try {
    return await runVerb(verb, args, context, clock);
  } catch (error) {
    if (verb.exitCodeOf === undefined || !(error instanceof TmemError)) throw error;
    context.stderr(`tmem: ${error.message}\n`);
    return verb.exitCodeOf(error);
  }
}

/** Runs `tmem image`; `clock` is replaced in tests. */
export async function image(
  args: readonly string[],
  context: CliContext,
  clock: Clock = systemClock,
): Promise<number> {
  const [name, ...rest] = args;
  if (name !== undefined && !name.startsWith('-')) {
    return runWithCodes(findVerb(name), rest, context, clock);
  }
  const parsed = parseArguments(args, SHARED_OPTIONS, 'tmem image');
  if (parsed.has('help')) context.stdout(IMAGE_HELP);
  else if (parsed.has('version')) context.stdout(`tmem ${packageVersion()}\n`);
  else throw new TmemError('usage', 'no verb was given; see tmem image --help');
  return EXIT_DONE;
}

export const imageCommand: Command = {
  name: 'image',
  summary: 'make, look at, convert and check images',
  run: image,
};
