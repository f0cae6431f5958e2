/** `tmem ctl`: has a running service do something, or lists what it has. */

import { TmemError } from '../lib/errors.ts';
import { nearest } from '../lib/nearest.ts';
import { packageVersion } from '../lib/package-version.ts';
import { ADMIN_OPTIONS, adminClient } from './admin-options.ts';
import { COMMON_OPTIONS, type OptionTable, parseArguments } from './arguments.ts';
import { type Clock, systemClock } from './clock.ts';
import type { CliContext } from './context.ts';
import { drainVerb } from './ctl-drain.ts';
import { LIST_VERBS } from './ctl-lists.ts';
import { MEMORY_VERBS } from './ctl-memory.ts';
import { OWNER_VERBS } from './ctl-owners.ts';
import type { Verb } from './ctl-verb.ts';
import { EXIT_DONE } from './exit-codes.ts';
import { formatEntry, formatOptions } from './help.ts';

/** In the order of the help text. */
export const VERBS: readonly Verb[] = [...LIST_VERBS, ...MEMORY_VERBS, ...OWNER_VERBS, drainVerb];

const SHARED_OPTIONS = {
  json: { help: "print the service's answer as one line of JSON" },
  ...ADMIN_OPTIONS,
  ...COMMON_OPTIONS,
} as const satisfies OptionTable<string>;

const EXIT_CODES = `Exit codes: 0 done, 1 it failed or the service cannot be reached, 2 the request cannot be carried
out as it stands.
`;

function usageOf({ name, operands }: Verb): string {
  return operands === '' ? name : `${name} ${operands}`;
}

export const CTL_HELP = `Usage: tmem ctl VERB [OPERAND]... [OPTION]...

Has a running tmem serve do something, through its admin listener.

Verbs:
${VERBS.map((verb) => formatEntry(usageOf(verb), verb.summary)).join('\n')}

Options:
${formatOptions(SHARED_OPTIONS)}

tmem ctl VERB --help explains the verb. Sizes are bytes, or have a suffix: KiB, MiB, GiB, TiB, or
K, M, G, T for the same powers of 1024.

${EXIT_CODES}`;

function optionsOf(verb: Verb): OptionTable<keyof typeof SHARED_OPTIONS> {
  return { ...verb.options, ...SHARED_OPTIONS };
}

/** What `tmem ctl VERB --help` prints. */
export function verbHelp(verb: Verb): string {
  return `Usage: tmem ctl ${usageOf(verb)} [OPTION]...

${verb.about}

Options:
${formatOptions(optionsOf(verb))}

${EXIT_CODES}`;
}

function findVerb(name: string): Verb {
  const found = VERBS.find((verb) => verb.name === name);
  if (found !== undefined) return found;
  const meant = nearest(
    name,
    VERBS.map((verb) => verb.name),
  );
  const advice = meant === undefined ? 'see tmem ctl --help' : `did you mean tmem ctl ${meant}?`;
  throw new TmemError('usage', `there is no verb "${name}"; ${advice}`);
}

/** Every option of every verb: enough to tell the verb from an option's value before it. */
const ALL_OPTIONS: OptionTable<keyof typeof SHARED_OPTIONS> = Object.assign(
  {},
  ...VERBS.map(optionsOf),
);

/** The verb, which options may precede, and the arguments without it. */
function splitVerb(args: readonly string[]): { verb: Verb | undefined; rest: readonly string[] } {
  const known = VERBS.find(({ name }) => name === args[0]);
  // The usual order: what follows is the verb's own to understand, with the verb's name in messages.
  if (known !== undefined) return { verb: known, rest: args.slice(1) };
  const [name] = parseArguments(args, ALL_OPTIONS, 'tmem ctl').positionals;
  if (name === undefined) return { verb: undefined, rest: args };
  const rest = [...args];
  rest.splice(positionOf(name, args), 1);
  return { verb: findVerb(name), rest };
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
  const command = `tmem ctl ${verb.name}`;
  const parsed = parseArguments(args, optionsOf(verb), command);
  if (parsed.has('help') || parsed.has('version')) {
    context.stdout(parsed.has('help') ? verbHelp(verb) : `tmem ${packageVersion()}\n`);
    return EXIT_DONE;
  }
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
  const { verb, rest } = splitVerb(args);
  if (verb !== undefined) return runVerb(verb, rest, context, clock);
  const parsed = parseArguments(args, ALL_OPTIONS, 'tmem ctl');
  if (parsed.has('help')) context.stdout(CTL_HELP);
  else if (parsed.has('version')) context.stdout(`tmem ${packageVersion()}\n`);
  else throw new TmemError('usage', 'no verb was given; see tmem ctl --help');
  return EXIT_DONE;
}
