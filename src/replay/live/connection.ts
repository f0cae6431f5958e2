/** One connection to an NBD server: requests go out in batches, replies are told as they come. */

import { connect, type Socket } from 'node:net';
import { kindOfSystemError, systemErrorCode, TmemError } from '../../lib/errors.ts';
import { formatListenAddress } from '../../lib/listen-address.ts';
import type { NbdTarget } from '../../lib/nbd-uri.ts';
import { writeUInt64BE } from '../../lib/uint64.ts';
import { Command, Magic, WireBytes } from '../../nbd/protocol.ts';
import { OP } from '../../trace/request-batch.ts';
import { checkWanted, givenUp } from './given-up.ts';
import { ClientHandshake, type Negotiated } from './handshake.ts';
import { Outstanding } from './outstanding.ts';
import { COMMAND_BY_OP } from './protocol.ts';
import { ReplyReader } from './reply-reader.ts';

/** How long a server may take to agree, milliseconds. */
export const HANDSHAKE_MS_MAX = 10_000;

/** What writes bring, over and over: pages of which half is noise, so that they halve if compressed. */
const PATTERN = halfNoise(1024 * 1024);

/** Hears of what happens to a connection. */
export interface ConnectionHost {
  replied(op: number, bytes: number, errno: number, latencyMs: number): void;
  /** Replies were taken, and there may be room. */
  turned(): void;
  /** It is of no use any more. Not told after `close`. */
  failed(error: TmemError): void;
}

/** A connection in its transmission phase; whoever opened it closes or destroys it. */
export class LiveConnection {
  readonly negotiated: Negotiated;
  host: ConnectionHost | undefined;
  readonly #socket: Socket;
  readonly #outstanding: Outstanding;
  readonly #reader: ReplyReader;
  /** Slots of what goes out with the next `flush`. */
  readonly #unsent: Int32Array;
  #unsentCount = 0;
  #nowMs = 0;
  #isOver = false;
  #failure: TmemError | undefined;

  private constructor(socket: Socket, negotiated: Negotiated, depth: number) {
    this.negotiated = negotiated;
    this.#socket = socket;
    this.#outstanding = new Outstanding(depth);
    this.#unsent = new Int32Array(depth);
    this.#reader = new ReplyReader(this.#outstanding, negotiated.isStructured, (slot, errno) =>
      this.#tell(slot, errno),
    );
    socket.on('data', (chunk: Buffer) => this.#receive(chunk));
    socket.on('error', (cause) => this.#fail(brokenBy(cause)));
    socket.on('close', () => this.#fail(brokenBy(undefined)));
  }

  /**
   * Connects, for `depth` requests at a time, and agrees on an export. Rejects with a TmemError, of
   * kind `shutdown` when `signal` is aborted before.
   */
  static async open(
    target: NbdTarget,
    depth: number,
    signal: AbortSignal,
  ): Promise<LiveConnection> {
    checkWanted(signal);
    const { address } = target;
    const socket = connect(
      address.kind === 'unix' ? { path: address.path } : { host: address.host, port: address.port },
    );
    socket.setNoDelay(true);
    try {
      const handshake = await shakeHands(socket, target, signal);
      const { result, leftover } = handshake;
      if (result === undefined) throw new Error('a handshake that ended without a result');
      const connection = new LiveConnection(socket, result, depth);
      if (leftover.length > 0) connection.#receive(leftover);
      return connection;
    } catch (cause) {
      socket.destroy();
      throw cause;
    }
  }

  get hasRoom(): boolean {
    return this.#outstanding.hasRoom;
  }

  /** Requests that were not answered yet. */
  get waitingCount(): number {
    return this.#outstanding.count;
  }

  /** Adds a request, which leaves with the next `flush`; there must be room. */
  add(op: number, offset: number, length: number): void {
    this.#unsent[this.#unsentCount++] = this.#outstanding.take(op, offset, length);
  }

  /** Sends what was added. */
  flush(nowMs: number): void {
    const count = this.#unsentCount;
    if (count === 0) return;
    if (this.#isOver) {
      if (this.#failure !== undefined) this.host?.failed(this.#failure);
      return;
    }
    this.#unsentCount = 0;
    const { op, length, sentMs } = this.#outstanding;
    const bytes = Buffer.allocUnsafe(count * WireBytes.REQUEST);
    this.#socket.cork();
    let from = 0;
    for (let i = 0; i < count; i++) {
      const slot = this.#unsent[i]!;
      const end = (i + 1) * WireBytes.REQUEST;
      this.#encode(bytes, end - WireBytes.REQUEST, slot);
      sentMs[slot] = nowMs;
      if (op[slot] !== OP.write) continue;
      this.#socket.write(bytes.subarray(from, end));
      this.#writePattern(length[slot]!);
      from = end;
    }
    if (from < bytes.length) this.#socket.write(bytes.subarray(from));
    this.#socket.uncork();
  }

  /** Says goodbye. */
  close(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    const goodbye = Buffer.alloc(WireBytes.REQUEST);
    goodbye.writeUInt32BE(Magic.REQUEST, 0);
    goodbye.writeUInt16BE(Command.DISC, 6);
    this.#socket.end(goodbye);
    this.#socket.destroySoon();
  }

  /** Hangs up. */
  destroy(): void {
    this.#isOver = true;
    this.#socket.destroy();
  }

  #encode(to: Buffer, at: number, slot: number): void {
    const { op, offset, length, generation } = this.#outstanding;
    to.writeUInt32BE(Magic.REQUEST, at);
    to.writeUInt16BE(0, at + 4);
    to.writeUInt16BE(COMMAND_BY_OP[op[slot]!]!, at + 6);
    to.writeUInt32BE(generation[slot]!, at + 8);
    to.writeUInt32BE(slot, at + 12);
    writeUInt64BE(to, offset[slot]!, at + 16);
    to.writeUInt32BE(length[slot]!, at + 24);
  }

  #writePattern(length: number): void {
    for (let left = length; left > 0; left -= PATTERN.length) {
      this.#socket.write(left >= PATTERN.length ? PATTERN : PATTERN.subarray(0, left));
    }
  }

  #receive(chunk: Buffer): void {
    if (this.#isOver) return;
    this.#nowMs = performance.now();
    try {
      this.#reader.feed(chunk);
    } catch (cause) {
      if (!(cause instanceof TmemError)) throw cause;
      this.#fail(cause);
      return;
    }
    this.host?.turned();
  }

  #tell(slot: number, errno: number): void {
    const { op, length, sentMs } = this.#outstanding;
    this.host?.replied(op[slot]!, length[slot]!, errno, this.#nowMs - sentMs[slot]!);
  }

  #fail(error: TmemError): void {
    if (this.#isOver) return;
    this.destroy();
    // It may be before anybody listens: then `flush` tells it.
    this.#failure = error;
    this.host?.failed(error);
  }
}

function shakeHands(
  socket: Socket,
  { address, exportName }: NbdTarget,
  signal: AbortSignal,
): Promise<ClientHandshake> {
  return new Promise((resolve, reject) => {
    const handshake = new ClientHandshake(exportName, (bytes) => socket.write(bytes));
    const where = formatListenAddress(address).replace(/^tcp:/, '');
    const seconds = HANDSHAKE_MS_MAX / 1000;
    const late = new TmemError(
      'io',
      `the server did not answer within ${seconds} s; it may take fewer clients at a time: try fewer --connections`,
    );
    const timer = setTimeout(() => finish(() => reject(late)), HANDSHAKE_MS_MAX);
    const onData = (chunk: Buffer): void => {
      try {
        handshake.feed(chunk);
      } catch (cause) {
        finish(() => reject(cause));
        return;
      }
      if (handshake.result !== undefined) finish(() => resolve(handshake));
    };
    const onError = (cause: Error): void => finish(() => reject(brokenBy(cause, where)));
    const onClose = (): void => finish(() => reject(brokenBy(undefined)));
    const onAbort = (): void => finish(() => reject(givenUp()));
    const finish = (settle: () => void): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
      socket.off('data', onData).off('error', onError).off('close', onClose);
      settle();
    };
    socket.on('data', onData).on('error', onError).on('close', onClose);
    signal.addEventListener('abort', onAbort);
  });
}

const ADVICE: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nothing listens there; start the server, or name its address in the URI',
  ENOENT: 'there is no such socket; start the server, or name its address in the URI',
  ENOTFOUND: 'the host is unknown; name another in the URI',
  EACCES: 'the system does not allow it; run as a user that may',
};

/** What is said of a connection that ended, or with `where` was never made. */
function brokenBy(cause: Error | undefined, where = ''): TmemError {
  const code = systemErrorCode(cause) ?? '';
  const known = ADVICE[code];
  if (known !== undefined && where !== '') {
    const sentence = `cannot reach the server at ${where}: ${known}`;
    return new TmemError(kindOfSystemError(cause), sentence, { cause });
  }
  const why = code === '' ? '' : ` (${code})`;
  return new TmemError('io', `the server hung up${why}; see what it says of it`, { cause });
}

/** xorshift32: the same in every run. */
function halfNoise(bytes: number): Buffer {
  const pattern = Buffer.alloc(bytes);
  let state = 0x746d656d;
  for (let at = 0; at < bytes; at += 4) {
    if (at % 4096 >= 2048) continue;
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    pattern.writeInt32LE(state, at);
  }
  return pattern;
}
