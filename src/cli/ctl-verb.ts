/** What every verb of `tmem ctl` is, and what it is given. */

import { TmemError } from '../lib/errors.ts';
import type { AdminClient } from './admin-client.ts';
import type { ParsedArguments } from './arguments.ts';
import type { Clock } from './clock.ts';
import type { CliContext } from './context.ts';
import type { VerbText } from './verbs.ts';

/** One call of a verb. */
export interface VerbCall {
  /** As many as the verb takes. */
  readonly operands: readonly string[];
  readonly parsed: ParsedArguments<string>;
  readonly client: AdminClient;
  readonly context: CliContext;
  readonly clock: Clock;
}

/** What came of a call: the service's own answer for programs, and a text for people. */
export interface VerbResult {
  readonly json: unknown;
  /** Whole lines. */
  readonly text: string;
}

export interface Verb extends VerbText {
  readonly operandsMin: number;
  readonly operandsMax: number;
  /** Rejects with a TmemError for whatever the user can do something about. */
  run(call: VerbCall): Promise<VerbResult>;
}

/** Some answers are known only when much memory has been gone through or written, milliseconds. */
export const LONG_MS_MAX = 600_000;

const POOL_PREFIX = 'pool:';
const EXPORT_PREFIX = 'export:';

/** The number of `pool:ID`; throws a usage error for anything else. */
export function parsePool(text: string): number {
  const digits = text.startsWith(POOL_PREFIX) ? text.slice(POOL_PREFIX.length) : '';
  const advice = 'is not a pool; write pool:ID, as tmem ctl pools lists them';
  return parseNumber(digits, 1, `"${text.slice(0, 40)}" ${advice}`);
}

/** A whole number from `min`; throws a usage error with `message` for anything else. */
export function parseNumber(text: string, min: number, message: string): number {
  const value = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (Number.isSafeInteger(value) && value >= min) return value;
  throw new TmemError('usage', message);
}

/** The API's path of an export, `NAME` or `export:NAME`, or of a pool, `pool:ID`. */
export function ownerPath(text: string): string {
  if (text.startsWith(POOL_PREFIX)) return `/v1/pools/${parsePool(text)}`;
  return exportPath(text);
}

/** The API's path of an export. The prefix is for a name that looks like a pool's. */
export function exportPath(text: string): string {
  const name = text.startsWith(EXPORT_PREFIX) ? text.slice(EXPORT_PREFIX.length) : text;
  if (name === '') throw new TmemError('usage', 'the name of an export is never empty; name one');
  return `/v1/exports/${encodeURIComponent(name)}`;
}
