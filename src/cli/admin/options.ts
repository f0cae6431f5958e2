/** The options of every command that asks a running service, and the token of either side. */

import { readHead } from '../../config/read-head.ts';
import { kindOfSystemError, readAdvice, TmemError } from '../../lib/errors.ts';
import { DEFAULT_ADMIN_ADDRESS, parseListenAddress } from '../../lib/listen-address.ts';
import { type OptionTable, type ParsedArguments, readValue } from '../command/arguments.ts';
import { type CliContext, fullPath } from '../command/context.ts';
import { type AdminClient, HttpAdminClient } from './client.ts';

const TOKEN_LENGTH_MAX = 512;

export const ADMIN_OPTIONS = {
  admin: {
    value: 'ADDRESS',
    help: `where the service is: HOST:PORT or unix:PATH\n(default: ${DEFAULT_ADMIN_ADDRESS})`,
  },
  'token-file': {
    value: 'FILE',
    help: 'what the service asks for as a token\n(default: what TMEM_TOKEN holds)',
  },
} as const satisfies OptionTable<string>;

function readOrExplain(path: string): string {
  try {
    return readHead(path, TOKEN_LENGTH_MAX + 1).toString('utf8');
  } catch (cause) {
    const sentence = `cannot read the token in ${path}: ${readAdvice(cause)}`;
    throw new TmemError(kindOfSystemError(cause), sentence, { cause });
  }
}

/**
 * The token in `text`, which came from `source`. Throws a usage error for what no header can carry;
 * its message never shows what was found.
 */
function checkToken(text: string, source: string): string {
  const token = text.trim();
  if (/^[\x21-\x7e]+$/.test(token) && token.length <= TOKEN_LENGTH_MAX) return token;
  const sentence = `${source} holds no token; it is one line without spaces`;
  throw new TmemError('usage', `${sentence}, of at most ${TOKEN_LENGTH_MAX} characters`);
}

/** The token in the file at `path`, an absolute one, without the line end. Throws a TmemError. */
export function readToken(path: string): string {
  return checkToken(readOrExplain(path), path);
}

function tokenOf(file: string | undefined, context: CliContext): string | undefined {
  if (file !== undefined) return readToken(fullPath(file, context));
  const { TMEM_TOKEN: token } = context.env;
  return token === undefined || token === '' ? undefined : checkToken(token, 'TMEM_TOKEN');
}

/** The client for the service that the options name. Throws a usage error for an address it is not. */
export function adminClient(
  parsed: ParsedArguments<keyof typeof ADMIN_OPTIONS>,
  context: CliContext,
): AdminClient {
  return adminClientAt('admin', parsed.last('admin') ?? DEFAULT_ADMIN_ADDRESS, parsed, context);
}

/** The same for an address that was given by another option. */
export function adminClientAt(
  option: string,
  place: string,
  parsed: Pick<ParsedArguments<'token-file'>, 'last'>,
  context: CliContext,
): AdminClient {
  const address = readValue(option, place, (text) =>
    parseListenAddress(text, DEFAULT_ADMIN_ADDRESS),
  );
  const token = tokenOf(parsed.last('token-file'), context);
  return new HttpAdminClient(address, token, `--${option}`);
}
