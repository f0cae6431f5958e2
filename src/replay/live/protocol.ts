/** What a client adds to the numbers of the NBD protocol: the bounds on what a server may send. */

import { TmemError } from '../../lib/errors.ts';
import { Command, NbdErrno, STRING_BYTES_MAX } from '../../nbd/protocol.ts';

/** Commands by operation of a trace: read, write, trim, flush, zero. */
export const COMMAND_BY_OP = new Uint8Array([
  Command.READ,
  Command.WRITE,
  Command.TRIM,
  Command.FLUSH,
  Command.WRITE_ZEROES,
]);

/** Chunks of a structured reply whose type has this bit tell of an error. */
export const CHUNK_ERROR_BIT = 0x8000;

/** The longest answer to an option that is looked at: a few numbers, or a sentence. */
export const OPTION_DATA_BYTES_MAX = 16 * 1024;
/** Answers to one handshake. */
export const OPTION_REPLY_COUNT_MAX = 64;
/** The longest payload of an error: its number, the length of its text, the text, and an offset. */
export const ERROR_BYTES_MAX = 6 + STRING_BYTES_MAX + 8;

const ERRNO_NAMES = new Map<number, string>(
  Object.entries(NbdErrno).map(([name, errno]) => [errno, name]),
);

/** The name of an error as the protocol numbers it; the number where it has none. */
export function errnoName(errno: number): string {
  return ERRNO_NAMES.get(errno) ?? String(errno);
}

/** The server did what the protocol forbids, or what is beyond the bounds. */
export function violation(what: string): TmemError {
  return new TmemError('invalid', `the server breaks the NBD protocol: ${what}`);
}
