/**
 * The client's side of a fixed newstyle handshake, from the greeting to the transmission phase. It
 * knows no socket: bytes come by `feed`, answers leave by the function that it was given.
 *
 * Source: NBD specification, "Fixed newstyle negotiation", "NBD_OPT_GO".
 */

import { TmemError } from '../../lib/errors.ts';
import { readUInt64BE } from '../../lib/uint64.ts';
import {
  HandshakeFlag,
  Info,
  Magic,
  Option,
  OptionReply,
  PAYLOAD_BYTES_DEFAULT,
  WireBytes,
} from '../../nbd/protocol.ts';
import { OPTION_DATA_BYTES_MAX, OPTION_REPLY_COUNT_MAX, violation } from './protocol.ts';

/** What was agreed on. */
export interface Negotiated {
  readonly sizeBytes: number;
  /** As in `TransmissionFlag`. */
  readonly flags: number;
  readonly isStructured: boolean;
  /** Requests are multiples of that, a power of two. */
  readonly minimumBytes: number;
  /** The longest payload. */
  readonly maximumBytes: number;
}

const BLOCK_BYTES_MAX = 64 * 1024;

export class ClientHandshake {
  /** Set when the transmission phase begins; `leftover` came with the last answer. */
  result: Negotiated | undefined;
  leftover: Buffer = Buffer.alloc(0);
  readonly #exportName: string;
  readonly #send: (bytes: Buffer) => void;
  #input: Buffer = Buffer.alloc(0);
  #hasGreeting = false;
  #option = 0;
  #replyCount = 0;
  #isStructured = false;
  #sizeBytes = -1;
  #flags = 0;
  #minimumBytes = 1;
  #maximumBytes = PAYLOAD_BYTES_DEFAULT;

  constructor(exportName: string, send: (bytes: Buffer) => void) {
    this.#exportName = exportName;
    this.#send = send;
  }

  /** Takes bytes of the server. Throws a TmemError when this comes to nothing. */
  feed(chunk: Buffer): void {
    this.#input = this.#input.length === 0 ? chunk : Buffer.concat([this.#input, chunk]);
    while (this.result === undefined && this.#takeOne()) {
      // each turn takes the greeting, or an answer
    }
    if (this.result !== undefined) this.leftover = this.#input;
  }

  #takeOne(): boolean {
    const input = this.#input;
    if (!this.#hasGreeting) {
      if (input.length < WireBytes.GREETING) return false;
      this.#greet(input);
      this.#input = input.subarray(WireBytes.GREETING);
      return true;
    }
    if (input.length < WireBytes.OPTION_REPLY_HEADER) return false;
    const isReply =
      input.readUInt32BE(0) === Magic.OPTION_REPLY_HIGH &&
      input.readUInt32BE(4) === Magic.OPTION_REPLY_LOW;
    if (!isReply || input.readUInt32BE(8) !== this.#option)
      throw violation('no answer to an option');
    const length = input.readUInt32BE(16);
    if (length > OPTION_DATA_BYTES_MAX)
      throw violation(`an answer of ${length} bytes to an option`);
    if (++this.#replyCount > OPTION_REPLY_COUNT_MAX)
      throw violation('too many answers to an option');
    const end = WireBytes.OPTION_REPLY_HEADER + length;
    if (input.length < end) return false;
    this.#takeReply(input.readUInt32BE(12), input.subarray(WireBytes.OPTION_REPLY_HEADER, end));
    this.#input = this.#input.subarray(end);
    return true;
  }

  #greet(input: Buffer): void {
    const isNbd =
      input.readUInt32BE(0) === Magic.GREETING_HIGH && input.readUInt32BE(4) === Magic.GREETING_LOW;
    if (!isNbd)
      throw new TmemError('invalid', 'what answers there is no NBD server; check the URI');
    const isNewstyle =
      input.readUInt32BE(8) === Magic.OPTION_HIGH && input.readUInt32BE(12) === Magic.OPTION_LOW;
    const flags = input.readUInt16BE(16);
    if (!isNewstyle || (flags & HandshakeFlag.FIXED_NEWSTYLE) === 0) {
      const sentence = 'the server speaks only the old style of the NBD protocol';
      throw new TmemError('unsupported', `${sentence}; replay against one of after 2012`);
    }
    const answer = Buffer.alloc(4);
    answer.writeUInt32BE(HandshakeFlag.FIXED_NEWSTYLE | (flags & HandshakeFlag.NO_ZEROES));
    this.#send(answer);
    this.#hasGreeting = true;
    this.#ask(Option.STRUCTURED_REPLY, Buffer.alloc(0));
  }

  #ask(option: number, data: Buffer): void {
    const header = Buffer.alloc(16);
    header.writeUInt32BE(Magic.OPTION_HIGH, 0);
    header.writeUInt32BE(Magic.OPTION_LOW, 4);
    header.writeUInt32BE(option, 8);
    header.writeUInt32BE(data.length, 12);
    this.#option = option;
    this.#send(Buffer.concat([header, data]));
  }

  #askToGo(): void {
    const name = Buffer.from(this.#exportName);
    const data = Buffer.alloc(4 + name.length + 4);
    data.writeUInt32BE(name.length, 0);
    name.copy(data, 4);
    data.writeUInt16BE(1, 4 + name.length);
    data.writeUInt16BE(Info.BLOCK_SIZE, 6 + name.length);
    this.#ask(Option.GO, data);
  }

  #takeReply(type: number, data: Buffer): void {
    if (this.#option === Option.STRUCTURED_REPLY) {
      // A server that does not know them answers an error, and is asked without.
      this.#isStructured = type === OptionReply.ACK;
      this.#askToGo();
    } else if (type === OptionReply.INFO) {
      this.#takeInfo(data);
    } else if (type === OptionReply.ACK) {
      this.#finish();
    } else {
      throw this.#refusal(type, data);
    }
  }

  #takeInfo(data: Buffer): void {
    const type = data.length < 2 ? -1 : data.readUInt16BE(0);
    if (type === Info.EXPORT && data.length === 12) {
      this.#sizeBytes = readUInt64BE(data, 2);
      this.#flags = data.readUInt16BE(10);
    } else if (type === Info.BLOCK_SIZE && data.length === 14) {
      this.#minimumBytes = data.readUInt32BE(2);
      this.#maximumBytes = Math.min(PAYLOAD_BYTES_DEFAULT, data.readUInt32BE(10));
    }
  }

  #finish(): void {
    if (this.#sizeBytes < 0) throw violation('an export without a size');
    if (!Number.isSafeInteger(this.#sizeBytes))
      throw violation('an export of more than 2^53 bytes');
    const isPower = Number.isInteger(Math.log2(this.#minimumBytes));
    const isSane = isPower && this.#minimumBytes <= BLOCK_BYTES_MAX;
    if (!isSane || this.#maximumBytes < this.#minimumBytes)
      throw violation('senseless block sizes');
    this.result = {
      sizeBytes: this.#sizeBytes,
      flags: this.#flags,
      isStructured: this.#isStructured,
      minimumBytes: this.#minimumBytes,
      maximumBytes: this.#maximumBytes - (this.#maximumBytes % this.#minimumBytes),
    };
  }

  #refusal(type: number, data: Buffer): TmemError {
    const said = data
      .toString('utf8', 0, 200)
      .replaceAll(/[^\x20-\x7e]+/g, ' ')
      .trim();
    const words = said === '' ? '' : ` (${said})`;
    const name = JSON.stringify(this.#exportName);
    switch (type) {
      case OptionReply.ERR_UNKNOWN:
        return new TmemError('not-found', `the server has no export ${name}${words}; name another`);
      case OptionReply.ERR_TLS_REQD:
        return new TmemError('unsupported', 'the server wants TLS; replay against one without');
      case OptionReply.ERR_POLICY:
        return new TmemError('permission', `the server refuses export ${name}${words}`);
      case OptionReply.ERR_UNSUP:
        return new TmemError('unsupported', 'the server is too old: it does not know NBD_OPT_GO');
      default:
        return new TmemError('invalid', `the server refuses export ${name}${words}`);
    }
  }
}
