/** Requests of the transmission phase, as a client sends them. */

import { Command, Magic, WireBytes } from '../../src/nbd/protocol.ts';

export interface ClientRequest {
  readonly command: number;
  readonly flags?: number;
  readonly offset?: number | bigint;
  readonly length?: number;
  /** Must be new where replies are to be told apart. */
  readonly cookie: bigint;
  readonly payload?: Buffer;
}

/** The bytes of a request; a WRITE's length is that of its payload unless it is given. */
export function encodeRequest(request: ClientRequest): Buffer {
  const { command, flags = 0, offset = 0, payload, cookie } = request;
  const header = Buffer.alloc(WireBytes.REQUEST);
  header.writeUInt32BE(Magic.REQUEST, 0);
  header.writeUInt16BE(flags, 4);
  header.writeUInt16BE(command, 6);
  header.writeBigUInt64BE(cookie, 8);
  header.writeBigUInt64BE(BigInt(offset), 16);
  header.writeUInt32BE(request.length ?? payload?.length ?? 0, 24);
  return payload === undefined ? header : Buffer.concat([header, payload]);
}

/** Says goodbye. */
export const DISCONNECT = encodeRequest({ command: Command.DISC, cookie: 0n });

/** Cuts bytes at these places; what is beyond the end does not matter. */
export function cut(bytes: Buffer, lengths: readonly number[]): Buffer[] {
  const pieces: Buffer[] = [];
  let at = 0;
  for (const length of lengths) {
    if (at >= bytes.length) break;
    pieces.push(Buffer.from(bytes.subarray(at, at + Math.max(1, length))));
    at += Math.max(1, length);
  }
  if (at < bytes.length) pieces.push(Buffer.from(bytes.subarray(at)));
  return pieces;
}
