/**
 * The NBD server: listens, admits clients up to its limits, and goes away without losing a reply.
 */

import { createServer, type Server, type Socket } from 'node:net';
import type { Export } from '../export/export.ts';
import { listenAt, stopListening } from '../lib/listen.ts';
import type { ListenAddress } from '../lib/listen-address.ts';
import { Connection } from './connection.ts';
import type { HandshakeExport, OptionDirectory } from './handshake/handshake.ts';
import { PAYLOAD_BYTES_DEFAULT, TransmissionFlag } from './protocol.ts';
import { Recording } from './recording.ts';
import { RECEIVE_BYTES, type SocketMeans } from './socket/client-socket.ts';
import { bindSocketCalls, type SocketCalls } from './socket/socket-calls.ts';
import { Spinner } from './socket/spinner.ts';
import { ServerStatistics } from './statistics.ts';

/** Time that requests under way have to finish when a server stops, unless it is told another. */
export const DRAIN_MS_MAX = 10_000;
/** A client may keep others waiting for this long, and at most twice as long, milliseconds. */
const STALL_MS_MAX = 15_000;
const SECONDS_PER_MS = 1e-3;

export interface NbdServerOptions {
  /** In the order of LIST; the first is the default export too. */
  readonly exports: readonly Export[];
  readonly maxConnections: number;
  readonly handshakeTimeoutMs: number;
  /** How long to stay awake after the last request, microseconds; 0 for not at all. */
  readonly spinMicroseconds: number;
  /** Time that requests under way have to finish when the server stops, milliseconds; 10 000. */
  readonly drainTimeoutMs?: number;
  readonly log: (message: string) => void;
  /** Called when a client is turned away, once until there has been room for many. */
  readonly onFull?: () => void;
  /**
   * Called once, when the process has no descriptor left. Clients who come while it has none are hung
   * up on before anybody here hears of them.
   */
  readonly onNoDescriptor?: () => void;
  /** The calls for sockets without Node's streams; null does without. By default they are looked for. */
  readonly socketCalls?: SocketCalls | null;
}

export class NbdServer {
  readonly statistics = new ServerStatistics();
  /** Hears of exports by their place in `exports`; its clock is `performance.now()`, in seconds. */
  readonly recording = new Recording();
  readonly spinner: Spinner;
  readonly #options: NbdServerOptions;
  readonly #byName = new Map<string, Export>();
  readonly #listeners: Server[] = [];
  readonly #connections = new Set<Connection>();
  /** Found when it first listens, for all of its listeners. */
  #means: Promise<SocketMeans | undefined> | undefined;
  #stopping: Promise<void> | undefined;
  #hasToldOfFull = false;
  #hasToldOfDescriptors = false;
  readonly #stallTimer: NodeJS.Timeout;
  #drained: () => void = () => undefined;

  constructor(options: NbdServerOptions) {
    this.#options = options;
    for (const each of options.exports) this.#byName.set(each.name, each);
    this.spinner = new Spinner(options.spinMicroseconds, now);
    this.#stallTimer = setInterval(() => this.lookForStalls(), STALL_MS_MAX).unref();
  }

  /** Listens at `address`; answers the address in force, with the port that was given for port 0. */
  async listen(address: ListenAddress): Promise<ListenAddress> {
    this.#means ??= this.#findMeans();
    const means = await this.#means;
    const pauseOnConnect = means !== undefined;
    const listener = createServer({ allowHalfOpen: true, pauseOnConnect }, (socket) =>
      this.#admit(socket, means),
    );
    const bound = await listenAt(listener, address, '--listen');
    if (this.#stopping === undefined) this.#listeners.push(listener);
    else stopListening(listener);
    return bound;
  }

  /** Stops listening, finishes what is under way, hangs up. Resolves when every client is gone. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  /** Drops every client and listener at once. */
  abort(): void {
    clearInterval(this.#stallTimer);
    for (const listener of this.#listeners.splice(0)) stopListening(listener);
    for (const connection of [...this.#connections]) connection.destroy();
  }

  /** Drops clients that hold buffers and do not move on, while others wait for some. Called at intervals. */
  lookForStalls(): void {
    for (const connection of [...this.#connections]) connection.lookForStall();
  }

  async #stop(): Promise<void> {
    clearInterval(this.#stallTimer);
    for (const listener of this.#listeners.splice(0)) stopListening(listener);
    this.spinner.stop();
    if (this.#connections.size === 0) return;
    const timer = setTimeout(() => this.abort(), this.#options.drainTimeoutMs ?? DRAIN_MS_MAX);
    await new Promise<void>((resolve) => {
      this.#drained = resolve;
      for (const connection of [...this.#connections]) connection.shutDown();
    });
    clearTimeout(timer);
  }

  async #findMeans(): Promise<SocketMeans | undefined> {
    const { socketCalls } = this.#options;
    const calls = socketCalls === undefined ? await bindSocketCalls() : socketCalls;
    if (!calls) return undefined;
    const duplicate = (fd: number): number => {
      const copy = calls.duplicate(fd);
      if (copy < 0) this.#tellOfDescriptors();
      return copy;
    };
    const memory = Buffer.allocUnsafeSlow(RECEIVE_BYTES);
    return { calls: { ...calls, duplicate }, spinner: this.spinner, memory };
  }

  #admit(socket: Socket, means: SocketMeans | undefined): void {
    const { statistics } = this;
    if (this.#connections.size >= this.#options.maxConnections || this.#stopping !== undefined) {
      statistics.refused++;
      if (this.#stopping === undefined) this.#tellOfFull();
      socket.on('error', () => undefined);
      socket.destroy();
      return;
    }
    statistics.accepted++;
    statistics.connections++;
    const connection = new Connection(socket, means, {
      directory: this.#directory,
      exportOf: (name) => this.#exportOf(name),
      numberOf: (target) => this.#options.exports.indexOf(target),
      recording: this.recording,
      statistics,
      spinner: this.spinner,
      handshakeTimeoutMs: this.#options.handshakeTimeoutMs,
      now,
      log: this.#options.log,
    });
    this.#connections.add(connection);
    connection.onEnd = () => {
      this.#connections.delete(connection);
      statistics.connections--;
      if (this.#connections.size * 2 <= this.#options.maxConnections) this.#hasToldOfFull = false;
      if (this.#connections.size === 0) this.#drained();
    };
  }

  /** A client that is turned away learns nothing of why, so somebody else should. */
  #tellOfFull(): void {
    if (this.#hasToldOfFull) return;
    this.#hasToldOfFull = true;
    this.#options.onFull?.();
  }

  /** libuv closes what it cannot accept; the descriptor that is lacking just before is ours. */
  #tellOfDescriptors(): void {
    if (this.#hasToldOfDescriptors) return;
    this.#hasToldOfDescriptors = true;
    this.#options.onNoDescriptor?.();
  }

  #exportOf(name: string): Export {
    const found = this.#byName.get(name);
    if (found === undefined) throw new Error(`nbd server: no export ${name} after its handshake`);
    return found;
  }

  readonly #directory: OptionDirectory = {
    names: () => [...this.#byName.keys()],
    find: (name) => {
      const found = name === '' ? this.#options.exports[0] : this.#byName.get(name);
      return found === undefined ? undefined : describe(found);
    },
  };
}

function now(): number {
  return performance.now() * SECONDS_PER_MS;
}

/** What the handshake says of an export: every flag here is kept by the transmission. */
function describe(target: Export): HandshakeExport {
  const durable = TransmissionFlag.SEND_FLUSH | TransmissionFlag.SEND_FUA;
  const writing =
    (target.isDurable ? durable : 0) |
    TransmissionFlag.SEND_TRIM |
    TransmissionFlag.SEND_WRITE_ZEROES |
    TransmissionFlag.SEND_FAST_ZERO;
  const common =
    TransmissionFlag.SEND_DF | TransmissionFlag.SEND_CACHE | TransmissionFlag.CAN_MULTI_CONN;
  return {
    name: target.name,
    sizeBytes: target.sizeBytes,
    transmissionFlags: common | (target.isReadOnly ? TransmissionFlag.READ_ONLY : writing),
    minimumBlockBytes: 1,
    preferredBlockBytes: target.pageBytes,
    maximumBlockBytes: PAYLOAD_BYTES_DEFAULT,
  };
}
