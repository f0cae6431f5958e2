/**
 * The numbers of the NBD protocol, named as in its specification (doc/proto.md of
 * NetworkBlockDevice/nbd, sections "Values" and "Protocol phases"), and the limits this server adds.
 * 64-bit magics are two 32-bit words, since a BigInt would be an allocation per message.
 */

import { type ErrorKind, kindOfSystemError } from '../lib/errors.ts';

/** Every magic number on the wire; `_HIGH` is the word that is sent first. */
export const Magic = {
  /** ASCII `NBDMAGIC`, which opens the greeting. */
  GREETING_HIGH: 0x4e42444d,
  GREETING_LOW: 0x41474943,
  /** ASCII `IHAVEOPT`, second in the greeting and first in every option. */
  OPTION_HIGH: 0x49484156,
  OPTION_LOW: 0x454f5054,
  OPTION_REPLY_HIGH: 0x0003e889,
  OPTION_REPLY_LOW: 0x045565a9,
  REQUEST: 0x25609513,
  SIMPLE_REPLY: 0x67446698,
  STRUCTURED_REPLY: 0x668e33ef,
} as const;

/** Handshake flags of the server (16 bits); the client's (32 bits) have the same two bits. */
export const HandshakeFlag = {
  FIXED_NEWSTYLE: 1 << 0,
  NO_ZEROES: 1 << 1,
} as const;

/** What an export can do, 16 bits that are sent when transmission begins. */
export const TransmissionFlag = {
  HAS_FLAGS: 1 << 0,
  READ_ONLY: 1 << 1,
  SEND_FLUSH: 1 << 2,
  SEND_FUA: 1 << 3,
  ROTATIONAL: 1 << 4,
  SEND_TRIM: 1 << 5,
  SEND_WRITE_ZEROES: 1 << 6,
  /** Must be clear unless structured replies were negotiated. */
  SEND_DF: 1 << 7,
  CAN_MULTI_CONN: 1 << 8,
  SEND_CACHE: 1 << 10,
  /** Must be clear unless SEND_WRITE_ZEROES is set. */
  SEND_FAST_ZERO: 1 << 11,
} as const;

/** What a client may ask for during the handshake. */
export const Option = {
  EXPORT_NAME: 1,
  ABORT: 2,
  LIST: 3,
  STARTTLS: 5,
  INFO: 6,
  GO: 7,
  STRUCTURED_REPLY: 8,
  LIST_META_CONTEXT: 9,
  SET_META_CONTEXT: 10,
} as const;

/** Types of a reply to an option; errors have bit 31 set. */
export const OptionReply = {
  ACK: 1,
  SERVER: 2,
  INFO: 3,
  META_CONTEXT: 4,
  ERR_UNSUP: 0x80000001,
  ERR_POLICY: 0x80000002,
  ERR_INVALID: 0x80000003,
  ERR_PLATFORM: 0x80000004,
  ERR_TLS_REQD: 0x80000005,
  ERR_UNKNOWN: 0x80000006,
  ERR_BLOCK_SIZE_REQD: 0x80000008,
  ERR_TOO_BIG: 0x80000009,
} as const;

/** Types of information about an export, in requests and in replies to INFO and GO. */
export const Info = {
  EXPORT: 0,
  NAME: 1,
  DESCRIPTION: 2,
  BLOCK_SIZE: 3,
} as const;

/** Request types of the transmission phase. */
export const Command = {
  READ: 0,
  WRITE: 1,
  DISC: 2,
  FLUSH: 3,
  TRIM: 4,
  CACHE: 5,
  WRITE_ZEROES: 6,
  BLOCK_STATUS: 7,
} as const;

/** Flags of a request (16 bits). */
export const CommandFlag = {
  FUA: 1 << 0,
  NO_HOLE: 1 << 1,
  DF: 1 << 2,
  REQ_ONE: 1 << 3,
  FAST_ZERO: 1 << 4,
} as const;

/** Flags of a structured reply chunk (16 bits). */
export const ChunkFlag = {
  DONE: 1 << 0,
} as const;

/**
 * Types of a structured reply chunk; errors have bit 15 set. BLOCK_STATUS is 5 as the specification
 * says, although the reference implementation's header once said 3.
 */
export const Chunk = {
  NONE: 0,
  OFFSET_DATA: 1,
  OFFSET_HOLE: 2,
  BLOCK_STATUS: 5,
  ERROR: 0x8001,
  ERROR_OFFSET: 0x8002,
} as const;

/** Status bits of an extent in the `base:allocation` context. */
export const AllocationState = {
  HOLE: 1 << 0,
  ZERO: 1 << 1,
} as const;

/** The only error numbers that may be sent. */
export const NbdErrno = {
  EPERM: 1,
  EIO: 5,
  ENOMEM: 12,
  EINVAL: 22,
  ENOSPC: 28,
  /** Only for a READ with DF, or a command without payload, that is too long. */
  EOVERFLOW: 75,
  /** Only for a WRITE_ZEROES with FAST_ZERO that would not be fast. */
  ENOTSUP: 95,
  ESHUTDOWN: 108,
} as const;

/** Sizes of the fixed parts of messages, in bytes. */
export const WireBytes = {
  GREETING: 18,
  CLIENT_FLAGS: 4,
  OPTION_HEADER: 16,
  OPTION_REPLY_HEADER: 20,
  EXPORT_NAME_REPLY: 10,
  /** Zeros that end an EXPORT_NAME reply unless the client agreed to NO_ZEROES. */
  EXPORT_NAME_PADDING: 124,
  REQUEST: 28,
  SIMPLE_REPLY: 16,
  CHUNK_HEADER: 20,
  /** What precedes the data in an OFFSET_DATA chunk. */
  CHUNK_OFFSET: 8,
  /** The payload of an OFFSET_HOLE chunk. */
  CHUNK_HOLE: 12,
  /** One extent in a BLOCK_STATUS chunk, after the 4 bytes of the context's id. */
  EXTENT: 8,
} as const;

/** The longest string of the protocol (names, queries, error texts), in bytes of UTF-8. */
export const STRING_BYTES_MAX = 4096;

/** The most option data that is ever stored; longer data is drained and answered TOO_BIG. */
export const OPTION_DATA_BYTES_MAX = 64 * 1024;

/** The most option data that is drained; a client that announces more is disconnected. */
export const OPTION_DRAIN_BYTES_MAX = 1024 * 1024;

/** Options one client may send; the next one disconnects it. */
export const OPTION_COUNT_MAX = 128;

/** Metadata queries in one option; more are answered TOO_BIG. */
export const META_QUERY_COUNT_MAX = 64;

/** Bytes of LIST replies that one client gets in all, so that asking is no way to fill our memory. */
export const LIST_REPLY_BYTES_MAX = 4 * 1024 * 1024;

/** The payload size every server should take, and the one assumed where none was advertised. */
export const PAYLOAD_BYTES_DEFAULT = 32 * 1024 * 1024;

/** A WRITE payload over the advertised maximum is drained up to this; beyond it is an attack. */
export const PAYLOAD_DRAIN_BYTES_MAX = 128 * 1024 * 1024;

const ERRNO_BY_KIND: Readonly<Record<ErrorKind, number>> = {
  usage: NbdErrno.EINVAL,
  'not-found': NbdErrno.EIO,
  permission: NbdErrno.EPERM,
  busy: NbdErrno.EIO,
  invalid: NbdErrno.EINVAL,
  'read-only': NbdErrno.EPERM,
  'no-space': NbdErrno.ENOSPC,
  io: NbdErrno.EIO,
  unsupported: NbdErrno.EINVAL, // ENOTSUP would say "not fast enough", see NbdErrno
  shutdown: NbdErrno.ESHUTDOWN,
};

/** The error number that tells a client of a failure; what is no known failure is EIO. */
export function nbdErrnoOf(cause: unknown): number {
  return ERRNO_BY_KIND[kindOfSystemError(cause)];
}

/** The same for WRITE_ZEROES with FAST_ZERO: an image may learn only now that it has no fast way. */
export function fastZeroErrnoOf(cause: unknown): number {
  return kindOfSystemError(cause) === 'unsupported' ? NbdErrno.ENOTSUP : nbdErrnoOf(cause);
}
