/** Reads a command line by a table of options; the same table makes the help text. */

import { parseArgs } from 'node:util';
import { refuse, TmemError } from '../../lib/errors.ts';
import { nearest } from '../../lib/nearest.ts';

/** One option of a command. */
export interface OptionSpec {
  /** What its value is called in the help text; without it the option is a switch. */
  readonly value?: string;
  /** It may be given without its value; with it as --name=VALUE only, since what follows is not it. */
  readonly isValueOptional?: boolean;
  readonly short?: string;
  /** One sentence fragment; a line end starts a new line of the help text. */
  readonly help: string;
}

/** The options of a command by name. */
export type OptionTable<Name extends string> = Readonly<Record<Name, OptionSpec>>;

/** What was on the command line. */
export interface ParsedArguments<Name extends string> {
  readonly positionals: readonly string[];
  /** Whether the option was given. */
  has(name: Name): boolean;
  /** Every value of an option that may be repeated, in order. */
  all(name: Name): readonly string[];
  /** The value that counts: the last one, so that a wrapper's options can be overridden. */
  last(name: Name): string | undefined;
}

/** What `parse` makes of the value of an option; an error of its says which option it is of. */
export function readValue<Value>(
  option: string,
  text: string,
  parse: (text: string) => Value,
): Value {
  try {
    return parse(text);
  } catch (error) {
    if (!(error instanceof TmemError)) throw error;
    const { kind, message, context } = error;
    throw new TmemError(kind, `--${option}: ${message}`, { context: { ...context }, cause: error });
  }
}

/** The options that every command takes. */
export const COMMON_OPTIONS = {
  help: { short: 'h', help: 'print this text' },
  version: { short: 'V', help: 'print the version' },
} as const satisfies OptionTable<string>;

function refuseUnknown(rawName: string, names: readonly string[], command: string): never {
  const meant = nearest(rawName.replace(/^-+/, ''), names);
  const advice = meant === undefined ? `see ${command} --help` : `did you mean --${meant}?`;
  refuse(`there is no option ${rawName}; ${advice}`);
}

/** The value of an option that needs one; an option in its place is more likely a slip. */
function requireValue(
  rawName: string,
  spec: OptionSpec,
  value: unknown,
  isInline: boolean,
): string {
  if (typeof value !== 'string' || value === '') refuse(`${rawName} needs a value: ${spec.value}`);
  if (!isInline && /^-./.test(value)) {
    refuse(`${rawName} needs a value, but ${value} follows; write ${rawName}=VALUE`);
  }
  return value;
}

/**
 * Reads `args` by `table`. `command` is how messages call it. Throws a usage error for an option
 * that is not in the table, a value that is missing, or a value that is too much.
 */
export function parseArguments<Name extends string>(
  args: readonly string[],
  table: OptionTable<Name>,
  command: string,
): ParsedArguments<Name> {
  const specs = new Map<string, OptionSpec>(Object.entries(table));
  const options = [...specs].map(([name, spec]) => {
    const takesNext = spec.value !== undefined && spec.isValueOptional !== true;
    const type: 'string' | 'boolean' = takesNext ? 'string' : 'boolean';
    return [name, { type, ...(spec.short !== undefined && { short: spec.short }) }] as const;
  });
  const { tokens } = parseArgs({
    args: [...args],
    options: Object.fromEntries(options),
    // Not strict: the messages of the strict mode are of several sentences and suggest nothing.
    strict: false,
    allowPositionals: true,
    tokens: true,
  });
  const values = new Map<string, string[]>();
  const positionals: string[] = [];
  for (const token of tokens) {
    if (token.kind === 'positional') positionals.push(token.value);
    if (token.kind !== 'option') continue;
    const { name, rawName, value, inlineValue } = token;
    const spec = specs.get(name) ?? refuseUnknown(rawName, [...specs.keys()], command);
    if (spec.value === undefined && value !== undefined) refuse(`${rawName} takes no value`);
    const isBare = spec.value === undefined || (spec.isValueOptional && value === undefined);
    const given = isBare ? '' : requireValue(rawName, spec, value, inlineValue === true);
    values.set(name, [...(values.get(name) ?? []), given]);
  }
  return {
    positionals,
    has: (name) => values.has(name),
    all: (name) => values.get(name) ?? [],
    last: (name) => values.get(name)?.at(-1),
  };
}

/** A whole number from `min` to `max`; throws a usage error with `message` for anything else. */
export function parseNumber(
  text: string,
  min: number,
  message: string,
  max: number = Number.MAX_SAFE_INTEGER,
): number {
  const value = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (value >= min && value <= max) return value;
  throw new TmemError('usage', message);
}

/** The value of an option, a whole number from `min` to `max`; throws a usage error for others. */
export function parseWhole(option: string, text: string, min: number, max?: number): number {
  const range = max === undefined ? `from ${min}` : `from ${min} to ${max}`;
  return parseNumber(text, min, `--${option}: "${text}" is not a whole number ${range}`, max);
}
