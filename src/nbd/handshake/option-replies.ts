/**
 * What the server says during the handshake, as bytes (NBD specification, "Fixed newstyle
 * negotiation" and "Option reply types"). Texts in error replies are ours alone: nothing that the
 * client sent is ever repeated to it.
 */

import { writeUInt64BE } from '../../lib/uint64.ts';
import { HandshakeFlag, Info, Magic, OptionReply, WireBytes } from '../protocol.ts';

const NO_DATA = Buffer.alloc(0);

/** The 18 bytes with which the server opens every connection. */
export function encodeGreeting(): Buffer {
  const bytes = Buffer.alloc(WireBytes.GREETING);
  bytes.writeUInt32BE(Magic.GREETING_HIGH, 0);
  bytes.writeUInt32BE(Magic.GREETING_LOW, 4);
  bytes.writeUInt32BE(Magic.OPTION_HIGH, 8);
  bytes.writeUInt32BE(Magic.OPTION_LOW, 12);
  bytes.writeUInt16BE(HandshakeFlag.FIXED_NEWSTYLE | HandshakeFlag.NO_ZEROES, 16);
  return bytes;
}

/** The reply to EXPORT_NAME, the one option whose reply has no header. */
export function encodeExportNameReply(
  sizeBytes: number,
  transmissionFlags: number,
  isPadded: boolean,
): Buffer {
  const paddingBytes = isPadded ? WireBytes.EXPORT_NAME_PADDING : 0;
  const bytes = Buffer.alloc(WireBytes.EXPORT_NAME_REPLY + paddingBytes);
  writeUInt64BE(bytes, sizeBytes, 0);
  bytes.writeUInt16BE(transmissionFlags, 8);
  return bytes;
}

/** A reply to any other option; `option` is the number as the client sent it. */
export function encodeReply(option: number, type: number, data: Buffer = NO_DATA): Buffer {
  const bytes = Buffer.alloc(WireBytes.OPTION_REPLY_HEADER + data.length);
  bytes.writeUInt32BE(Magic.OPTION_REPLY_HIGH, 0);
  bytes.writeUInt32BE(Magic.OPTION_REPLY_LOW, 4);
  bytes.writeUInt32BE(option, 8);
  bytes.writeUInt32BE(type, 12);
  bytes.writeUInt32BE(data.length, 16);
  data.copy(bytes, WireBytes.OPTION_REPLY_HEADER);
  return bytes;
}

/** One export of a LIST. */
export function encodeServer(option: number, name: string, description: string): Buffer {
  const nameBytes = Buffer.from(name);
  const data = [u32(nameBytes.length), nameBytes, Buffer.from(description)];
  return encodeReply(option, OptionReply.SERVER, Buffer.concat(data));
}

/** One metadata context. */
export function encodeMetaContext(option: number, id: number, name: string): Buffer {
  return encodeReply(option, OptionReply.META_CONTEXT, Buffer.concat([u32(id), Buffer.from(name)]));
}

/** The information that every success of INFO and GO must carry. */
export function encodeInfoExport(
  option: number,
  sizeBytes: number,
  transmissionFlags: number,
): Buffer {
  const data = Buffer.alloc(12);
  data.writeUInt16BE(Info.EXPORT, 0);
  writeUInt64BE(data, sizeBytes, 2);
  data.writeUInt16BE(transmissionFlags, 10);
  return encodeReply(option, OptionReply.INFO, data);
}

/** Information that is a string: the export's own name, or its description. */
export function encodeInfoText(option: number, infoType: number, text: string): Buffer {
  const type = Buffer.alloc(2);
  type.writeUInt16BE(infoType, 0);
  return encodeReply(option, OptionReply.INFO, Buffer.concat([type, Buffer.from(text)]));
}

/** The sizes that requests should keep to. */
export function encodeInfoBlockSize(
  option: number,
  minimumBytes: number,
  preferredBytes: number,
  maximumBytes: number,
): Buffer {
  const data = Buffer.alloc(14);
  data.writeUInt16BE(Info.BLOCK_SIZE, 0);
  data.writeUInt32BE(minimumBytes, 2);
  data.writeUInt32BE(preferredBytes, 6);
  data.writeUInt32BE(maximumBytes, 10);
  return encodeReply(option, OptionReply.INFO, data);
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value, 0);
  return bytes;
}
