/** A client for tests: builds the client's side of a handshake as bytes and reads the replies. */

import {
  Handshake,
  type HandshakeExport,
  type OptionDirectory,
} from '../../../src/nbd/handshake/handshake.ts';
import { Magic, TransmissionFlag } from '../../../src/nbd/protocol.ts';

export const FIXED = 1;
export const NO_ZEROES = 2;

/** One reply to an option, with its header checked and taken off. */
export interface Reply {
  readonly option: number;
  readonly type: number;
  readonly data: Buffer;
}

export function u16(...values: number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 2);
  for (const [index, value] of values.entries()) bytes.writeUInt16BE(value, index * 2);
  return bytes;
}

export function u32(...values: number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 4);
  for (const [index, value] of values.entries()) bytes.writeUInt32BE(value, index * 4);
  return bytes;
}

/** An option as sent; `length` lies about the data where it is given. */
export function option(number: number, data: Buffer | string = '', length?: number): Buffer {
  const bytes = Buffer.from(data);
  const header = u32(Magic.OPTION_HIGH, Magic.OPTION_LOW, number, length ?? bytes.length);
  return Buffer.concat([header, bytes]);
}

/** A string behind its length. */
function string(text: Buffer | string): Buffer {
  const bytes = Buffer.from(text);
  return Buffer.concat([u32(bytes.length), bytes]);
}

/** The data of INFO and GO. */
export function info(name: Buffer | string, ...infoTypes: number[]): Buffer {
  return Buffer.concat([string(name), u16(infoTypes.length, ...infoTypes)]);
}

/** The data of LIST_META_CONTEXT and SET_META_CONTEXT. */
export function meta(name: string, ...queries: (Buffer | string)[]): Buffer {
  return Buffer.concat([string(name), u32(queries.length), ...queries.map(string)]);
}

/** Replies one after the other; throws where the bytes are not whole, well-formed replies. */
export function parseReplies(bytes: Buffer): Reply[] {
  const replies: Reply[] = [];
  for (let at = 0; at < bytes.length; ) {
    const high = bytes.readUInt32BE(at);
    const low = bytes.readUInt32BE(at + 4);
    if (high !== 0x3e889 || low !== 0x045565a9) throw new Error(`no reply magic at ${at}`);
    const end = at + 20 + bytes.readUInt32BE(at + 16);
    if (end > bytes.length) throw new Error(`the reply at ${at} is cut off`);
    const data = bytes.subarray(at + 20, end);
    replies.push({ option: bytes.readUInt32BE(at + 8), type: bytes.readUInt32BE(at + 12), data });
    at = end;
  }
  return replies;
}

/** An export with every capability and the sizes that clients assume anyway. */
export function exportOf(name: string, changes: Partial<HandshakeExport> = {}): HandshakeExport {
  return {
    name,
    sizeBytes: 2 ** 40 + 2 ** 32 + 4096,
    transmissionFlags: TransmissionFlag.SEND_FLUSH | TransmissionFlag.SEND_DF,
    minimumBlockBytes: 1,
    preferredBlockBytes: 4096,
    maximumBlockBytes: 32 * 1024 * 1024,
    ...changes,
  };
}

/** A directory of these exports, the first of which is also the default. */
export function directoryOf(...exports: readonly HandshakeExport[]): OptionDirectory {
  return {
    names: () => exports.map(({ name }) => name),
    find: (wanted) =>
      exports.find(({ name }) => name === wanted) ?? (wanted ? undefined : exports[0]),
  };
}

/** A handshake that is past the client flags, and what it has sent. */
export class ScriptedClient {
  readonly handshake: Handshake;
  #sent: Buffer[] = [];

  constructor(
    directory: OptionDirectory = directoryOf(exportOf('disk')),
    flags = FIXED | NO_ZEROES,
  ) {
    this.handshake = new Handshake(directory, (reply) => this.#sent.push(reply));
    this.handshake.feed(u32(flags));
  }

  /** Sends bytes and takes what came back as it is. */
  send(...parts: readonly Buffer[]): Buffer {
    this.#sent = [];
    this.handshake.feed(Buffer.concat(parts));
    return Buffer.concat(this.#sent);
  }

  /** Sends an option and takes its replies. */
  ask(number: number, data: Buffer | string = ''): Reply[] {
    return parseReplies(this.send(option(number, data)));
  }

  /** The types of the replies to an option. */
  typesOf(number: number, data: Buffer | string = ''): number[] {
    return this.ask(number, data).map(({ type }) => type);
  }
}
