/** The options of every command that asks a running service. */

import { resolve } from 'node:path';
import { parseListenAddress } from '../lib/listen-address.ts';
import { type AdminClient, HttpAdminClient } from './admin-client.ts';
import type { OptionTable, ParsedArguments } from './arguments.ts';
import type { CliContext } from './context.ts';
import { checkToken, readToken } from './token-file.ts';

/** Where `tmem serve` has its admin listener unless told. */
export const DEFAULT_ADMIN_ADDRESS = '127.0.0.1:9842';

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

function tokenOf(file: string | undefined, context: CliContext): string | undefined {
  if (file !== undefined) return readToken(resolve(context.directory, file));
  const { TMEM_TOKEN: token } = context.env;
  return token === undefined || token === '' ? undefined : checkToken(token, 'TMEM_TOKEN');
}

/** The client for the service that the options name. Throws a usage error for an address it is not. */
export function adminClient(
  parsed: ParsedArguments<keyof typeof ADMIN_OPTIONS>,
  context: CliContext,
): AdminClient {
  const address = parseListenAddress(parsed.last('admin') ?? DEFAULT_ADMIN_ADDRESS);
  return new HttpAdminClient(address, tokenOf(parsed.last('token-file'), context));
}
