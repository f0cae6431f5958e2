/** A connection to a server that may be killed at any moment: what is not answered by then is gone. */

import net from 'node:net';
import { Command, CommandFlag, Option, WireBytes } from '../../src/nbd/protocol.ts';
import { FIXED, NO_ZEROES, option, u32 } from '../nbd/handshake/scripted-client.ts';
import { type Answer, type Asked, ReplyParser } from '../nbd/reply-parser.ts';
import { encodeRequest } from '../nbd/requests.ts';
import { SECTOR_BYTES } from './crash-sectors.ts';
import type { CrashRequest, Outcome, RequestKind } from './crash-workload.ts';

const COMMANDS: Readonly<Record<RequestKind, number>> = {
  write: Command.WRITE,
  zeroes: Command.WRITE_ZEROES,
  trim: Command.TRIM,
  read: Command.READ,
  flush: Command.FLUSH,
};

interface Waiting {
  readonly asked: Asked;
  readonly resolve: (answer: Answer | 'gone') => void;
}

export class CrashClient {
  /** Resolves when the connection is gone, and every request on it answered or given up. */
  readonly closed: Promise<void>;
  readonly #socket: net.Socket;
  readonly #parser: ReplyParser;
  readonly #waiting = new Map<bigint, Waiting>();
  #nextCookie = 1n;
  #failure: unknown;
  #greeting: Buffer | undefined = Buffer.alloc(0);
  #onReady: () => void = () => undefined;

  private constructor(path: string) {
    this.#socket = net.connect(path);
    this.#parser = new ReplyParser(
      { isStructured: false },
      (cookie) => this.#waiting.get(cookie)?.asked,
    );
    this.#socket.on('error', () => undefined); // a server that was killed hangs up
    this.#socket.on('data', (chunk: Buffer) => this.#receive(chunk));
    this.closed = new Promise((resolve) => {
      this.#socket.on('close', () => {
        for (const { resolve: end } of this.#waiting.values()) end('gone');
        this.#waiting.clear();
        this.#onReady();
        resolve();
      });
    });
  }

  /** A client of the default export. */
  static async connect(path: string): Promise<CrashClient> {
    const client = new CrashClient(path);
    client.#socket.write(u32(FIXED | NO_ZEROES));
    client.#socket.write(option(Option.EXPORT_NAME));
    await new Promise<void>((resolve) => {
      client.#onReady = resolve;
    });
    if (client.#greeting !== undefined) throw new Error('the server hung up during the handshake');
    return client;
  }

  /** What requests wait for that were sent and not answered, for a message. */
  get waitingFor(): string {
    const asked = [...this.#waiting.values()].map((each) => each.asked);
    return asked.map(({ command, offset, length }) => `${command}:${offset}+${length}`).join(' ');
  }

  /**
   * Sends a request and takes its answer; a reply with an error rejects. Of the request's bytes
   * only the first `bytesMax` are sent.
   */
  async ask(request: CrashRequest, bytesMax = Number.POSITIVE_INFINITY): Promise<Outcome> {
    const { kind, first, count, hasFua, payload } = request;
    const cookie = this.#nextCookie++;
    const asked = {
      command: COMMANDS[kind],
      flags: hasFua ? CommandFlag.FUA : 0,
      offset: first * SECTOR_BYTES,
      length: count * SECTOR_BYTES,
    };
    const bytes = encodeRequest({ ...asked, cookie, ...(payload ? { payload } : {}) });
    const answer = await new Promise<Answer | 'gone'>((resolve) => {
      if (this.#socket.destroyed) return resolve('gone');
      this.#waiting.set(cookie, { asked, resolve });
      this.#socket.write(bytes.subarray(0, bytesMax));
    });
    if (this.#failure !== undefined) throw this.#failure;
    if (answer === 'gone') return 'gone';
    if (answer.errno === 0) return answer.data;
    throw new Error(`${kind} of ${count} sectors at ${first} was answered error ${answer.errno}`);
  }

  /** Leaves without a word. */
  async close(): Promise<void> {
    this.#socket.destroy();
    await this.closed;
  }

  #receive(chunk: Buffer): void {
    try {
      if (this.#greeting === undefined) this.#parser.feed(chunk);
      else this.#skipGreeting(Buffer.concat([this.#greeting, chunk]));
    } catch (failure) {
      this.#failure ??= failure;
      this.#socket.destroy();
    }
    for (const answer of this.#parser.answers.splice(0)) {
      this.#waiting.get(answer.cookie)?.resolve(answer);
      this.#waiting.delete(answer.cookie);
    }
  }

  #skipGreeting(bytes: Buffer): void {
    const length = WireBytes.GREETING + WireBytes.EXPORT_NAME_REPLY;
    this.#greeting = bytes.length < length ? bytes : undefined;
    if (this.#greeting !== undefined) return;
    this.#onReady();
    if (bytes.length > length) this.#parser.feed(bytes.subarray(length));
  }
}
