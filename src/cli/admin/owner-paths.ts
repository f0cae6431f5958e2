/** Exports and pools as commands name them, and where the administrative API has them. */

import { TmemError } from '../../lib/errors.ts';
import { parseNumber } from '../command/arguments.ts';

const POOL_PREFIX = 'pool:';
const EXPORT_PREFIX = 'export:';

/** The number of `pool:ID`; throws a usage error for anything else. */
export function parsePool(text: string): number {
  const digits = text.startsWith(POOL_PREFIX) ? text.slice(POOL_PREFIX.length) : '';
  const advice = 'is not a pool; write pool:ID, as tmem ctl pools lists them';
  return parseNumber(digits, 1, `"${text.slice(0, 40)}" ${advice}`);
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
