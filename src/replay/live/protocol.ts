/**
 * What a client needs of the NBD protocol's numbers (doc/proto.md of NetworkBlockDevice/nbd), and
 * the bounds on what a server may send.
 */

import { TmemError } from '../../lib/errors.ts';

/** 64-bit magics are two words. */
export const MAGIC = {
  greetingHigh: 0x4e42444d,
  greetingLow: 0x41474943,
  optionHigh: 0x49484156,
  optionLow: 0x454f5054,
  optionReplyHigh: 0x0003e889,
  optionReplyLow: 0x045565a9,
  request: 0x25609513,
  simpleReply: 0x67446698,
  structuredReply: 0x668e33ef,
} as const;

/** Of the server and of the client alike ("Handshake flags", "Client flags"). */
export const HANDSHAKE_FLAG = { fixedNewstyle: 1, noZeroes: 2 } as const;

/** What an export can do ("Transmission flags"). */
export const EXPORT_FLAG = {
  readOnly: 1 << 1,
  sendFlush: 1 << 2,
  sendTrim: 1 << 5,
  sendWriteZeroes: 1 << 6,
} as const;

/** What a client asks for ("Option types"). */
export const OPTION = { go: 7, structuredReply: 8 } as const;
/** Answers to that ("Option reply types"). */
export const OPTION_REPLY = { ack: 1, info: 3 } as const;
/** Refusals of it, which have bit 31 set. */
export const OPTION_ERROR = {
  unsupported: 0x80000001,
  policy: 0x80000002,
  tlsRequired: 0x80000005,
  unknown: 0x80000006,
} as const;
/** What an answer to GO tells ("NBD_INFO_EXPORT", "NBD_INFO_BLOCK_SIZE"). */
export const INFO = { export: 0, blockSize: 3 } as const;

/** Commands by operation of a trace: read, write, trim, flush, zero. */
export const COMMAND_BY_OP = new Uint8Array([0, 1, 4, 3, 6]);
/** The command that ends a connection, and is not answered. */
export const DISCONNECT = 2;

/** Kinds of chunks of a structured reply, and the flag of the last one. */
export const CHUNK = { none: 0, offsetData: 1, offsetHole: 2, errorBit: 0x8000 } as const;
export const CHUNK_DONE = 1;

/** Lengths of what is fixed: the greeting, the head of an answer to an option, a request. */
export const GREETING_BYTES = 18;
export const OPTION_REPLY_BYTES = 20;
export const REQUEST_BYTES = 28;

/** The longest payload that every server should take. */
export const PAYLOAD_BYTES_MAX = 32 * 1024 * 1024;
/** The longest answer to an option that is looked at: a few numbers, or a sentence. */
export const OPTION_DATA_BYTES_MAX = 16 * 1024;
/** Answers to one handshake. */
export const OPTION_REPLY_COUNT_MAX = 64;
/** The longest text of an error, as the specification has it, and what precedes it. */
export const ERROR_BYTES_MAX = 6 + 4096 + 8;

const ERRNO_NAMES: Readonly<Record<number, string>> = {
  1: 'EPERM',
  5: 'EIO',
  12: 'ENOMEM',
  22: 'EINVAL',
  28: 'ENOSPC',
  75: 'EOVERFLOW',
  95: 'ENOTSUP',
  108: 'ESHUTDOWN',
};

/** The name of an error as the protocol numbers it; the number where it has none. */
export function errnoName(errno: number): string {
  return ERRNO_NAMES[errno] ?? String(errno);
}

/** The server did what the protocol forbids, or what is beyond the bounds. */
export function violation(what: string): TmemError {
  return new TmemError('invalid', `the server breaks the NBD protocol: ${what}`);
}
