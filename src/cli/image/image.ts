/** `tmem image`: makes, looks at, converts, checks and changes images in any of the formats. */

import { TmemError } from '../../lib/errors.ts';
import { COMMON_OPTIONS, type OptionTable } from '../command/arguments.ts';
import { type Clock, systemClock } from '../command/clock.ts';
import { type CliContext, tell } from '../command/context.ts';
import { EXIT_DONE } from '../command/exit-codes.ts';
import { stoppable } from '../command/stoppable.ts';
import { Verbs, type VerbTable } from '../command/verbs.ts';
import { ImageProgress } from './progress.ts';
import type { ImageVerb } from './verb.ts';

/** In the order of the help text; each is loaded when it is asked for, with what it works on. */
const TABLE: VerbTable<ImageVerb> = {
  create: async () => (await import('./create.ts')).createVerb,
  info: async () => (await import('./info.ts')).infoVerb,
  map: async () => (await import('./map.ts')).mapVerb,
  check: async () => (await import('./check.ts')).checkVerb,
  repair: async () => (await import('./check.ts')).repairVerb,
  convert: async () => (await import('./convert.ts')).convertVerb,
  compare: async () => (await import('./compare.ts')).compareVerb,
  measure: async () => (await import('./measure.ts')).measureVerb,
  resize: async () => (await import('./resize.ts')).resizeVerb,
  commit: async () => (await import('./commit.ts')).commitVerb,
  rebase: async () => (await import('./rebase.ts')).rebaseVerb,
};

const SHARED_OPTIONS = {
  json: { help: 'print what came of it as JSON' },
  progress: {
    value: 'WHEN',
    help: 'show how far it is on standard error: on, off or auto\n(default: auto, a bar on a terminal, elsewhere a line\nevery five seconds)',
  },
  ...COMMON_OPTIONS,
} as const satisfies OptionTable<string>;

const VERBS = new Verbs({
  command: 'tmem image',
  synopsis: 'VERB FILE... [OPTION]...',
  about: `Makes, looks at, converts, checks and changes images: raw, qcow2, qed, qcow, vmdk, cow and luks.
A format is what the file's name ends in, or what --format says, never what is in the file.`,
  table: TABLE,
  options: SHARED_OPTIONS,
  exitCodes: `Exit codes: 0 done, 1 it failed, 2 the request cannot be carried out as it stands, 130 interrupted.
`,
});

/** All of them. */
export function imageVerbs(): Promise<ImageVerb[]> {
  return VERBS.all();
}

/** What `tmem image --help` prints. */
export function imageHelp(verbs: readonly ImageVerb[]): string {
  return VERBS.help(verbs);
}

/** What `tmem image VERB --help` prints. */
export function imageVerbHelp(verb: ImageVerb): string {
  return VERBS.helpOf(verb);
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
  const parsed = VERBS.parse(verb, others, context);
  if (parsed === undefined) return EXIT_DONE;
  const operands = [...parsed.positionals, ...signed];
  checkCount(verb, operands);
  const progress = new ImageProgress(verb.name, parsed.last('progress'), context, clock);
  const warn = (message: string) => tell(context, `warning: ${message}`);
  return stoppable(context, async (stopped) => {
    try {
      const call = { operands, parsed, context, progress, stopped, warn };
      const { json, text, exitCode } = await verb.run(call);
      progress.clear();
      if (text !== undefined) {
        context.stdout(parsed.has('json') ? `${JSON.stringify(json)}\n` : text);
      }
      return exitCode ?? EXIT_DONE;
    } finally {
      progress.clear();
    }
  });
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
    tell(context, error.message);
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
    return runWithCodes(await VERBS.find(name), rest, context, clock);
  }
  return VERBS.runWithout(args, context);
}
