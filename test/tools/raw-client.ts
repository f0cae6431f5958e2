/** A client that behaves as none should: bytes of the test's choice, read when the test likes. */

import net from 'node:net';
import { onTestFinished } from 'vitest';
import { Magic, Option, WireBytes } from '../../src/nbd/protocol.ts';
import { FIXED, NO_ZEROES, option, u32 } from '../nbd/handshake/scripted-client.ts';

export interface RawRequest {
  readonly command: number;
  readonly offset?: number;
  readonly length?: number;
  readonly cookie?: number;
}

/** A request's header. */
export function requestBytes({ command, offset = 0, length = 0, cookie = 0 }: RawRequest): Buffer {
  const bytes = Buffer.alloc(WireBytes.REQUEST);
  bytes.writeUInt32BE(Magic.REQUEST, 0);
  bytes.writeUInt16BE(command, 6);
  bytes.writeUInt32BE(cookie, 12);
  bytes.writeBigUInt64BE(BigInt(offset), 16);
  bytes.writeUInt32BE(length, 24);
  return bytes;
}

/** A connection in its transmission phase, by EXPORT_NAME: replies are simple ones. */
export class RawClient {
  readonly socket: net.Socket;
  #received = Buffer.alloc(0);
  #wantedBytes = 0;
  #isClosed = false;
  #look: () => void = () => undefined;

  private constructor(socket: net.Socket) {
    this.socket = socket;
    socket.on('error', () => undefined); // a server that hangs up while we send is expected
    socket.on('close', () => {
      this.#isClosed = true;
      this.#look();
    });
    socket.on('data', (chunk: Buffer) => {
      this.#received = Buffer.concat([this.#received, chunk]);
      if (this.#received.length < this.#wantedBytes) return;
      socket.pause();
      this.#look();
    });
    socket.pause();
  }

  /**
   * Connects to an export, the default one if none is named. Nothing is read behind the handshake
   * until it is asked for.
   */
  static async connect(path: string, name = ''): Promise<RawClient> {
    const socket = net.connect(path);
    onTestFinished(() => {
      socket.destroy();
    });
    const client = new RawClient(socket);
    await client.read(WireBytes.GREETING);
    socket.write(u32(FIXED | NO_ZEROES));
    socket.write(option(Option.EXPORT_NAME, Buffer.from(name)));
    await client.read(WireBytes.EXPORT_NAME_REPLY);
    return client;
  }

  /** Sends bytes; resolves when the server's side has taken them, which may be never. */
  send(bytes: Buffer): Promise<void> {
    return new Promise((resolve) => {
      this.socket.write(bytes, () => resolve());
    });
  }

  /** The next `count` bytes; rejects when the connection ends before. */
  async read(count: number): Promise<Buffer> {
    await this.#receive(count);
    if (this.#received.length < count) throw new Error('the server hung up');
    const bytes = this.#received.subarray(0, count);
    this.#received = this.#received.subarray(count);
    return bytes;
  }

  /** One simple reply: its error number, the cookie it answers, and `length` bytes of data. */
  async reply(lengthOf: (cookie: number) => number) {
    const header = await this.read(WireBytes.SIMPLE_REPLY);
    if (header.readUInt32BE(0) !== Magic.SIMPLE_REPLY) throw new Error('not a simple reply');
    const errno = header.readUInt32BE(4);
    const cookie = header.readUInt32BE(12);
    const length = errno === 0 ? lengthOf(cookie) : 0;
    return { errno, cookie, data: length === 0 ? Buffer.alloc(0) : await this.read(length) };
  }

  /** Whether the server has hung up; no when there is something to read. */
  async isOver(): Promise<boolean> {
    await this.#receive(1);
    return this.#received.length === 0;
  }

  /** Resolves when the server has hung up; rejects if it sends something more before. */
  async closed(): Promise<void> {
    if (!(await this.isOver())) throw new Error('the server sent more than was expected');
  }

  /** Reads until there are `count` bytes or there will be no more. */
  #receive(count: number): Promise<void> {
    this.#wantedBytes = count;
    return new Promise((resolve) => {
      this.#look = () => {
        if (this.#received.length < count && !this.#isClosed) return;
        resolve();
      };
      this.#look();
      if (this.#received.length < count) this.socket.resume();
    });
  }
}
