/**
 * The client's side of a fixed newstyle handshake, from the greeting to the transmission phase. It
 * knows no socket: bytes come by `feed`, answers leave by the function that it was given.
 *
 * Source: NBD specification, "Fixed newstyle negotiation", "NBD_OPT_GO".
 */

import { TmemError } from '../../lib/errors.ts';
import { readUInt64BE } from '../../lib/uint64.ts';
import {
  GREETING_BYTES,
  HANDSHAKE_FLAG,
  INFO,
  MAGIC,
  OPTION,
  OPTION_DATA_BYTES_MAX,
  OPTION_ERROR,
  OPTION_REPLY,
  OPTION_REPLY_BYTES,
  OPTION_REPLY_COUNT_MAX,
  PAYLOAD_BYTES_MAX,
  violation,
} from './protocol.ts';

/** What was agreed on. */
export interface Negotiated {
  readonly sizeBytes: number;
  /** As in `EXPORT_FLAG`. */
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
  readonly #wantsStructured: boolean;
  #input: Buffer = Buffer.alloc(0);
  #hasGreeting = false;
  #option = 0;
  #replyCount = 0;
  #isStructured = false;
  #sizeBytes = -1;
  #flags = 0;
  #minimumBytes = 1;
  #maximumBytes = PAYLOAD_BYTES_MAX;

  constructor(exportName: string, wantsStructured: boolean, send: (bytes: Buffer) => void) {
    this.#exportName = exportName;
    this.#wantsStructured = wantsStructured;
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
      if (input.length < GREETING_BYTES) return false;
      this.#greet(input);
      this.#input = input.subarray(GREETING_BYTES);
      return true;
    }
    if (input.length < OPTION_REPLY_BYTES) return false;
    const isReply =
      input.readUInt32BE(0) === MAGIC.optionReplyHigh &&
      input.readUInt32BE(4) === MAGIC.optionReplyLow;
    if (!isReply || input.readUInt32BE(8) !== this.#option)
      throw violation('no answer to an option');
    const length = input.readUInt32BE(16);
    if (length > OPTION_DATA_BYTES_MAX)
      throw violation(`an answer of ${length} bytes to an option`);
    if (++this.#replyCount > OPTION_REPLY_COUNT_MAX)
      throw violation('too many answers to an option');
    const end = OPTION_REPLY_BYTES + length;
    if (input.length < end) return false;
    this.#takeReply(input.readUInt32BE(12), input.subarray(OPTION_REPLY_BYTES, end));
    this.#input = this.#input.subarray(end);
    return true;
  }

  #greet(input: Buffer): void {
    const isNbd =
      input.readUInt32BE(0) === MAGIC.greetingHigh && input.readUInt32BE(4) === MAGIC.greetingLow;
    if (!isNbd)
      throw new TmemError('invalid', 'what answers there is no NBD server; check the URI');
    const isNewstyle =
      input.readUInt32BE(8) === MAGIC.optionHigh && input.readUInt32BE(12) === MAGIC.optionLow;
    const flags = input.readUInt16BE(16);
    if (!isNewstyle || (flags & HANDSHAKE_FLAG.fixedNewstyle) === 0) {
      const sentence = 'the server speaks only the old style of the NBD protocol';
      throw new TmemError('unsupported', `${sentence}; replay against one of after 2012`);
    }
    const answer = Buffer.alloc(4);
    answer.writeUInt32BE(HANDSHAKE_FLAG.fixedNewstyle | (flags & HANDSHAKE_FLAG.noZeroes));
    this.#send(answer);
    this.#hasGreeting = true;
    if (this.#wantsStructured) this.#ask(OPTION.structuredReply, Buffer.alloc(0));
    else this.#askToGo();
  }

  #ask(option: number, data: Buffer): void {
    const header = Buffer.alloc(16);
    header.writeUInt32BE(MAGIC.optionHigh, 0);
    header.writeUInt32BE(MAGIC.optionLow, 4);
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
    data.writeUInt16BE(INFO.blockSize, 6 + name.length);
    this.#ask(OPTION.go, data);
  }

  #takeReply(type: number, data: Buffer): void {
    if (this.#option === OPTION.structuredReply) {
      // A server that does not know them answers an error, and is asked without.
      this.#isStructured = type === OPTION_REPLY.ack;
      this.#askToGo();
    } else if (type === OPTION_REPLY.info) {
      this.#takeInfo(data);
    } else if (type === OPTION_REPLY.ack) {
      this.#finish();
    } else {
      throw this.#refusal(type, data);
    }
  }

  #takeInfo(data: Buffer): void {
    const type = data.length < 2 ? -1 : data.readUInt16BE(0);
    if (type === INFO.export && data.length === 12) {
      this.#sizeBytes = readUInt64BE(data, 2);
      this.#flags = data.readUInt16BE(10);
    } else if (type === INFO.blockSize && data.length === 14) {
      this.#minimumBytes = data.readUInt32BE(2);
      this.#maximumBytes = Math.min(PAYLOAD_BYTES_MAX, data.readUInt32BE(10));
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
      case OPTION_ERROR.unknown:
        return new TmemError('not-found', `the server has no export ${name}${words}; name another`);
      case OPTION_ERROR.tlsRequired:
        return new TmemError('unsupported', 'the server wants TLS; replay against one without');
      case OPTION_ERROR.policy:
        return new TmemError('permission', `the server refuses export ${name}${words}`);
      case OPTION_ERROR.unsupported:
        return new TmemError('unsupported', 'the server is too old: it does not know NBD_OPT_GO');
      default:
        return new TmemError('invalid', `the server refuses export ${name}${words}`);
    }
  }
}
