/** `tmem ctl`: has a running service do something, or lists what it has. */

import { TmemError } from '../../lib/errors.ts';
import { ADMIN_OPTIONS, adminClient } from '../admin/options.ts';
import { COMMON_OPTIONS, type OptionTable, parseArguments } from '../command/arguments.ts';
import { type Clock, systemClock } from '../command/clock.ts';
import type { CliContext } from '../command/context.ts';
import { EXIT_DONE } from '../command/exit-codes.ts';
import { tableOf, usageOf, Verbs } from '../command/verbs.ts';
import { drainVerb } from './drain.ts';
import { LIST_VERBS } from './lists.ts';
import { MEMORY_VERBS } from './memory.ts';
import { OWNER_VERBS } from './owners.ts';
import type { Verb } from './verb.ts';

/** In the order of the help text. */
export const VERBS: readonly Verb[] = [...LIST_VERBS, ...MEMORY_VERBS, ...OWNER_VERBS, drainVerb];

const SHARED_OPTIONS = {
  json: { help: "print the service's answer as one line of JSON" },
  ...ADMIN_OPTIONS,
  ...COMMON_OPTIONS,
} as const satisfies OptionTable<string>;

const CTL = new Verbs({
  command: 'tmem ctl',
  synopsis: 'VERB [OPERAND]... [OPTION]...',
  about: 'Has a running tmem serve do something, through its admin listener.',
  table: tableOf(VERBS),
  options: SHARED_OPTIONS,
  notes: `Sizes are bytes, or have a suffix: KiB, MiB, GiB, TiB, or
K, M, G, T for the same powers of 1024.`,
  exitCodes: `Exit codes: 0 done, 1 it failed or the service cannot be reached, 2 the request cannot be carried
out as it stands.
`,
});

export const CTL_HELP = CTL.help(VERBS);

/** What `tmem ctl VERB --help` prints. */
export function verbHelp(verb: Verb): string {
  return CTL.helpOf(verb);
}

/** Every option of every verb: enough to tell the verb from an option's value before it. */
const ALL_OPTIONS: OptionTable<string> = Object.assign(
  {},
  ...VERBS.map((verb) => CTL.optionsOf(verb)),
);

/** The verb's name, which options may precede, and the arguments without it. */
function splitName(args: readonly string[]): { name: string | undefined; rest: readonly string[] } {
  const known = VERBS.find(({ name }) => name === args[0]);
  // The usual order: what follows is the verb's own to understand, with the verb's name in messages.
  if (known !== undefined) return { name: known.name, rest: args.slice(1) };
  const [name] = parseArguments(args, ALL_OPTIONS, 'tmem ctl').positionals;
  if (name === undefined) return { name, rest: args };
  const rest = [...args];
  rest.splice(positionOf(name, args), 1);
  return { name, rest };
}

/** Where the verb stands: an option's value before it may be the same word. */
function positionOf(name: string, args: readonly string[]): number {
  for (let at = args.indexOf(name); at >= 0; at = args.indexOf(name, at + 1)) {
    const before = parseArguments(args.slice(0, at + 1), ALL_OPTIONS, 'tmem ctl');
    if (before.positionals.length > 0) return at;
  }
  return 0;
}

async function runVerb(
  verb: Verb,
  args: readonly string[],
  context: CliContext,
  clock: Clock,
): Promise<number> {
  const parsed = CTL.parse(verb, args, context);
  if (parsed === undefined) return EXIT_DONE;
  const { positionals: operands } = parsed;
  if (operands.length < verb.operandsMin || operands.length > verb.operandsMax) {
    const what = operands.length < verb.operandsMin ? 'too little' : 'too much';
    throw new TmemError('usage', `${what} was given; write tmem ctl ${usageOf(verb)}`);
  }
  const client = adminClient(parsed, context);
  const { json, text } = await verb.run({ operands, parsed, client, context, clock });
  context.stdout(parsed.has('json') ? `${JSON.stringify(json)}\n` : text);
  return EXIT_DONE;
}

/** Runs `tmem ctl`; `clock` is replaced in tests. */
export async function ctl(
  args: readonly string[],
  context: CliContext,
  clock: Clock = systemClock,
): Promise<number> {
  const { name, rest } = splitName(args);
  if (name === undefined) return CTL.runWithout(args, context, ALL_OPTIONS);
  return runVerb(await CTL.find(name), rest, context, clock);
}
