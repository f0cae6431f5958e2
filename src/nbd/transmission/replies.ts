/**
 * Replies of the transmission phase, written into a buffer at a position; each call answers the
 * position behind what it wrote. A cookie is the client's, 64 bits that are only echoed: two words.
 *
 * Source: NBD specification (doc/proto.md), "Simple reply message", "Structured reply chunk message".
 */

import { writeUInt64BE } from '../../lib/uint64.ts';
import { Chunk, Magic, WireBytes } from '../protocol.ts';

/** What precedes the data of a READ that is answered in one chunk, bytes. */
export const DATA_CHUNK_HEADER_BYTES = WireBytes.CHUNK_HEADER + WireBytes.CHUNK_OFFSET;
/** The longest reply that carries neither data nor text, bytes. */
export const SHORT_REPLY_BYTES_MAX = WireBytes.CHUNK_HEADER + WireBytes.CHUNK_HOLE + 4;

/** What a reply must echo of its request. */
export interface Cookie {
  readonly cookieHigh: number;
  readonly cookieLow: number;
}

export function writeSimpleReply(to: Buffer, at: number, cookie: Cookie, errno: number): number {
  to.writeUInt32BE(Magic.SIMPLE_REPLY, at);
  to.writeUInt32BE(errno, at + 4);
  to.writeUInt32BE(cookie.cookieHigh, at + 8);
  to.writeUInt32BE(cookie.cookieLow, at + 12);
  return at + WireBytes.SIMPLE_REPLY;
}

/** The header of a chunk with `length` bytes of payload behind it. */
export function writeChunkHeader(
  to: Buffer,
  at: number,
  cookie: Cookie,
  flags: number,
  type: number,
  length: number,
): number {
  to.writeUInt32BE(Magic.STRUCTURED_REPLY, at);
  to.writeUInt16BE(flags, at + 4);
  to.writeUInt16BE(type, at + 6);
  to.writeUInt32BE(cookie.cookieHigh, at + 8);
  to.writeUInt32BE(cookie.cookieLow, at + 12);
  to.writeUInt32BE(length, at + 16);
  return at + WireBytes.CHUNK_HEADER;
}

/** All of an OFFSET_DATA chunk but its data. */
export function writeDataChunkHeader(
  to: Buffer,
  at: number,
  cookie: Cookie,
  flags: number,
  offset: number,
  length: number,
): number {
  const payload = WireBytes.CHUNK_OFFSET + length;
  return writeOffset(
    to,
    writeChunkHeader(to, at, cookie, flags, Chunk.OFFSET_DATA, payload),
    offset,
  );
}

/** A whole OFFSET_HOLE chunk: `length` zeros that are not sent. */
export function writeHoleChunk(
  to: Buffer,
  at: number,
  cookie: Cookie,
  flags: number,
  offset: number,
  length: number,
): number {
  const header = writeChunkHeader(to, at, cookie, flags, Chunk.OFFSET_HOLE, WireBytes.CHUNK_HOLE);
  const end = writeOffset(to, header, offset);
  to.writeUInt32BE(length, end);
  return end + 4;
}

/** A whole ERROR chunk without a text. */
export function writeErrorChunk(
  to: Buffer,
  at: number,
  cookie: Cookie,
  flags: number,
  errno: number,
): number {
  const end = writeChunkHeader(to, at, cookie, flags, Chunk.ERROR, 6);
  to.writeUInt32BE(errno, end);
  to.writeUInt16BE(0, end + 4);
  return end + 6;
}

function writeOffset(to: Buffer, at: number, offset: number): number {
  writeUInt64BE(to, offset, at);
  return at + 8;
}
