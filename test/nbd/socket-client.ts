/** A client on a real socket, through the handshake into the transmission phase. */

import { connect, type NetConnectOpts, type Socket } from 'node:net';
import { Magic, Option, OptionReply, WireBytes } from '../../src/nbd/protocol.ts';
import { FIXED, info, meta, NO_ZEROES, option, u32 } from './handshake/scripted-client.ts';
import { type Answer, type Asked, ReplyParser } from './reply-parser.ts';
import { type ClientRequest, encodeRequest } from './requests.ts';
import { CONTEXT_ID } from './transmission/transmission-fixture.ts';

/** What a client sends to get to the transmission phase with structured replies. */
export const HANDSHAKE = Buffer.concat([
  u32(FIXED | NO_ZEROES),
  option(Option.STRUCTURED_REPLY),
  option(Option.SET_META_CONTEXT, meta('', 'base:allocation')),
  option(Option.GO, info('')),
]);

export class SocketClient {
  readonly socket: Socket;
  /** Resolves when the connection is gone, for whatever reason. */
  readonly isClosed: Promise<void>;
  /** The server has closed its side. */
  readonly hasEnded: Promise<unknown>;
  readonly #parser: ReplyParser;
  readonly #asked = new Map<bigint, Asked>();
  #nextCookie = 1n;
  #handshake: Buffer | undefined = Buffer.alloc(0);
  #onChange: () => void = () => undefined;
  #cause: unknown;

  constructor(address: NetConnectOpts) {
    this.socket = connect(address);
    this.isClosed = new Promise((resolve) => this.socket.once('close', () => resolve()));
    this.hasEnded = new Promise((resolve) => this.socket.once('end', resolve));
    this.#parser = new ReplyParser({ isStructured: true, contextIds: [CONTEXT_ID] }, (cookie) =>
      this.#asked.get(cookie),
    );
    this.socket.on('error', () => undefined);
    this.socket.on('data', (chunk: Buffer) => this.#receive(chunk));
    this.socket.on('close', () => this.#onChange());
  }

  /** A client in its transmission phase. */
  static async ready(address: NetConnectOpts): Promise<SocketClient> {
    const client = new SocketClient(address);
    client.socket.write(HANDSHAKE);
    await client.#until(() => client.#handshake === undefined);
    return client;
  }

  get answers(): readonly Answer[] {
    return this.#parser.answers;
  }

  /** The bytes of a request; the reply is expected from now on. */
  request(request: Omit<ClientRequest, 'cookie'>): Buffer {
    const cookie = this.#nextCookie++;
    const { command, flags = 0, payload } = request;
    const length = request.length ?? payload?.length ?? 0;
    this.#asked.set(cookie, { command, flags, offset: Number(request.offset ?? 0), length });
    return encodeRequest({ ...request, cookie });
  }

  /** Sends requests and takes all their answers, in the order they came. */
  async ask(...requests: readonly Omit<ClientRequest, 'cookie'>[]): Promise<readonly Answer[]> {
    const before = this.answers.length;
    this.socket.write(Buffer.concat(requests.map((each) => this.request(each))));
    await this.answered(before + requests.length);
    return this.answers.slice(before);
  }

  /** Resolves when so many answers have come; rejects when the connection ends before. */
  answered(count: number): Promise<void> {
    return this.#until(() => this.answers.length >= count);
  }

  async #until(isTrue: () => boolean): Promise<void> {
    while (!isTrue()) {
      if (this.#cause !== undefined) throw this.#cause;
      if (this.socket.destroyed) throw new Error('the server hung up');
      await new Promise<void>((resolve) => {
        this.#onChange = resolve;
      });
    }
  }

  #receive(chunk: Buffer): void {
    try {
      if (this.#handshake === undefined) this.#parser.feed(chunk);
      else this.#skipHandshake(Buffer.concat([this.#handshake, chunk]));
    } catch (cause) {
      this.#cause = cause;
    }
    this.#onChange();
  }

  /** Reads on behind the ACK of GO. */
  #skipHandshake(bytes: Buffer): void {
    this.#handshake = bytes;
    for (let at: number = WireBytes.GREETING; at + 20 <= bytes.length; ) {
      if (bytes.readUInt32BE(at) !== Magic.OPTION_REPLY_HIGH) throw new Error('no option reply');
      const isGo = bytes.readUInt32BE(at + 8) === Option.GO;
      const isAck = bytes.readUInt32BE(at + 12) === OptionReply.ACK;
      at += 20 + bytes.readUInt32BE(at + 16);
      if (!isGo || !isAck || at > bytes.length) continue;
      this.#handshake = undefined;
      if (at < bytes.length) this.#parser.feed(bytes.subarray(at));
      return;
    }
  }
}
