/**
 * One request of the transmission phase: its header, and whether it may be carried out.
 *
 * Source: NBD specification (doc/proto.md), "Request message" and "Error values".
 */

import { PIECE_BYTES } from '../../lib/buffer-pool.ts';
import { readUInt64BE } from '../../lib/uint64.ts';
import {
  Command,
  CommandFlag,
  Magic,
  NbdErrno,
  PAYLOAD_BYTES_DEFAULT,
  TransmissionFlag,
} from '../protocol.ts';
import type { Cookie } from './replies.ts';

/** A parsed header. One object per connection, filled anew for each request. */
export class Request implements Cookie {
  flags = 0;
  command = 0;
  cookieHigh = 0;
  cookieLow = 0;
  /** Bytes; above 2^53 it is not exact, but then it is outside every export too. */
  offset = 0;
  length = 0;

  /** Reads the 28 bytes at `at`; answers whether they begin with the magic. */
  parse(from: Buffer, at: number): boolean {
    if (from.readUInt32BE(at) !== Magic.REQUEST) return false;
    this.flags = from.readUInt16BE(at + 4);
    this.command = from.readUInt16BE(at + 6);
    this.cookieHigh = from.readUInt32BE(at + 8);
    this.cookieLow = from.readUInt32BE(at + 12);
    this.offset = readUInt64BE(from, at + 16);
    this.length = from.readUInt32BE(at + 24);
    return true;
  }

  /** The echo of this request, for a reply that is written later. */
  cookie(): Cookie {
    return { cookieHigh: this.cookieHigh, cookieLow: this.cookieLow };
  }
}

/** What was promised to the client of an export. */
export interface Promises {
  readonly sizeBytes: number;
  /** As sent in the handshake. */
  readonly transmissionFlags: number;
  readonly isStructured: boolean;
  readonly hasMetaContext: boolean;
}

/** 0 if the request may be carried out, else the error number to answer it with. */
export function refusalOf(request: Request, promises: Promises): number {
  const { command, flags, offset, length } = request;
  if ((flags & ~allowedFlags(command, promises)) !== 0) return NbdErrno.EINVAL;
  if (!isOffered(command, promises)) return NbdErrno.EINVAL;
  const changes =
    command === Command.WRITE || command === Command.TRIM || command === Command.WRITE_ZEROES;
  if (changes && (promises.transmissionFlags & TransmissionFlag.READ_ONLY) !== 0) {
    return NbdErrno.EPERM;
  }
  if (command === Command.FLUSH) return 0;
  if (length > promises.sizeBytes - offset) {
    const grows = command === Command.WRITE || command === Command.WRITE_ZEROES;
    return grows ? NbdErrno.ENOSPC : NbdErrno.EINVAL;
  }
  // A reply that must not be fragmented is one that one buffer can hold.
  const isWhole = command === Command.READ && (flags & CommandFlag.DF) !== 0;
  if (isWhole && length > PIECE_BYTES) return NbdErrno.EOVERFLOW;
  const hasPayload = command === Command.READ || command === Command.WRITE;
  if (hasPayload && length > PAYLOAD_BYTES_DEFAULT) return NbdErrno.EINVAL;
  return command === Command.BLOCK_STATUS && length === 0 ? NbdErrno.EINVAL : 0;
}

function allowedFlags(command: number, promises: Promises): number {
  // FUA is legal with every command once it was offered; without writing it means nothing.
  const fua = (promises.transmissionFlags & TransmissionFlag.SEND_FUA) !== 0 ? CommandFlag.FUA : 0;
  switch (command) {
    case Command.READ:
      return promises.isStructured ? fua | CommandFlag.DF : fua;
    case Command.WRITE_ZEROES: {
      const offered = (promises.transmissionFlags & TransmissionFlag.SEND_FAST_ZERO) !== 0;
      return fua | CommandFlag.NO_HOLE | (offered ? CommandFlag.FAST_ZERO : 0);
    }
    case Command.BLOCK_STATUS:
      return fua | CommandFlag.REQ_ONE;
    default:
      return fua;
  }
}

function isOffered(command: number, promises: Promises): boolean {
  const { transmissionFlags: flags } = promises;
  switch (command) {
    case Command.READ:
    case Command.WRITE:
      return true;
    case Command.FLUSH:
      return (flags & TransmissionFlag.SEND_FLUSH) !== 0;
    case Command.TRIM:
      return (flags & (TransmissionFlag.SEND_TRIM | TransmissionFlag.READ_ONLY)) !== 0;
    case Command.WRITE_ZEROES:
      return (flags & (TransmissionFlag.SEND_WRITE_ZEROES | TransmissionFlag.READ_ONLY)) !== 0;
    case Command.CACHE:
      return (flags & TransmissionFlag.SEND_CACHE) !== 0;
    case Command.BLOCK_STATUS:
      return promises.hasMetaContext;
    default:
      return false;
  }
}
