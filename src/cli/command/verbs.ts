/** A command that is made of verbs: which of them is meant, and what its help texts say. */

import { TmemError } from '../../lib/errors.ts';
import { nearest } from '../../lib/nearest.ts';
import { printsAbout } from './about.ts';
import { type OptionTable, type ParsedArguments, parseArguments } from './arguments.ts';
import type { CliContext } from './context.ts';
import { EXIT_DONE } from './exit-codes.ts';
import { formatEntry, formatOptions } from './help.ts';

/** What the help texts say of a verb. */
export interface VerbText {
  readonly name: string;
  /** The operands as the help text shows them; those that may be left out in brackets. */
  readonly operands: string;
  /** A sentence fragment for the list of verbs. */
  readonly summary: string;
  /** What one has to know, in whole sentences. */
  readonly about: string;
  /** Beside those that all verbs take. */
  readonly options?: OptionTable<string>;
  /** What the exit codes say, where that is not what they say of other verbs. */
  readonly exitCodes?: string;
}

/** Verbs by name, in the order of the help text; each is loaded when it is asked for. */
export type VerbTable<Verb> = Readonly<Record<string, () => Promise<Verb>>>;

export interface VerbsOptions<Verb extends VerbText> {
  /** As it is called: `tmem image`. */
  readonly command: string;
  /** What follows that, as the help text shows it. */
  readonly synopsis: string;
  /** What one has to know, in whole sentences. */
  readonly about: string;
  readonly table: VerbTable<Verb>;
  /** What all verbs take; among it the options that every command takes. */
  readonly options: OptionTable<string>;
  /** What else one has to know, in whole sentences. */
  readonly notes?: string;
  /** What the exit codes say; whole lines. */
  readonly exitCodes: string;
}

/** A table of verbs that are there already. */
export function tableOf<Verb extends VerbText>(verbs: readonly Verb[]): VerbTable<Verb> {
  return Object.fromEntries(verbs.map((verb) => [verb.name, async () => verb]));
}

/** The verb and its operands. */
export function usageOf({ name, operands }: VerbText): string {
  return operands === '' ? name : `${name} ${operands}`;
}

/** The verbs of one command. */
export class Verbs<Verb extends VerbText> {
  readonly #options: VerbsOptions<Verb>;

  constructor(options: VerbsOptions<Verb>) {
    this.#options = options;
  }

  /** Loads all of them. */
  all(): Promise<Verb[]> {
    return Promise.all(Object.values(this.#options.table).map((load) => load()));
  }

  /** What the command's `--help` prints; `verbs` are all of them. */
  help(verbs: readonly Verb[]): string {
    const { command, synopsis, about, options, notes, exitCodes } = this.#options;
    const last = `${command} VERB --help explains the verb.`;
    return `Usage: ${command} ${synopsis}

${about}

Verbs:
${verbs.map((verb) => formatEntry(usageOf(verb), verb.summary)).join('\n')}

Options:
${formatOptions(options)}

${notes === undefined ? last : `${last} ${notes}`}

${exitCodes}`;
  }

  /** What the verb's `--help` prints. */
  helpOf(verb: Verb): string {
    const { command, exitCodes } = this.#options;
    return `Usage: ${command} ${usageOf(verb)} [OPTION]...

${verb.about}

Options:
${formatOptions(this.optionsOf(verb))}

${verb.exitCodes ?? exitCodes}`;
  }

  /** Those of the verb, and those of all verbs. */
  optionsOf(verb: Verb): OptionTable<string> {
    return { ...verb.options, ...this.#options.options };
  }

  /** Rejects with a usage error, which says what may be meant, when there is no such verb. */
  async find(name: string): Promise<Verb> {
    const { command, table } = this.#options;
    const load = Object.hasOwn(table, name) ? table[name] : undefined;
    if (load !== undefined) return load();
    const meant = nearest(name, Object.keys(table));
    const advice =
      meant === undefined ? `see ${command} --help` : `did you mean ${command} ${meant}?`;
    throw new TmemError('usage', `there is no verb "${name}"; ${advice}`);
  }

  /**
   * Reads what follows the verb. Undefined when its help or the version was asked for, which is
   * printed then; throws a usage error as `parseArguments` does.
   */
  parse(
    verb: Verb,
    args: readonly string[],
    context: CliContext,
  ): ParsedArguments<string> | undefined {
    const command = `${this.#options.command} ${verb.name}`;
    const parsed = parseArguments(args, this.optionsOf(verb), command);
    return printsAbout(parsed, this.helpOf(verb), context) ? undefined : parsed;
  }

  /**
   * Runs the command without a verb, which can only ask for its help or the version. `options` are
   * those that may stand there.
   */
  async runWithout(
    args: readonly string[],
    context: CliContext,
    options = this.#options.options,
  ): Promise<number> {
    const { command } = this.#options;
    const parsed = parseArguments(args, options, command);
    const help = parsed.has('help') ? this.help(await this.all()) : '';
    if (printsAbout(parsed, help, context)) return EXIT_DONE;
    throw new TmemError('usage', `no verb was given; see ${command} --help`);
  }
}
