/**
 * One client's socket: handshake first, then transmission; and what the socket says about them. All
 * that can happen to a connection ends in `#end`, once.
 */

import type { Socket } from 'node:net';
import type { Export } from '../export/export.ts';
import { Handshake, type HandshakeResult, type OptionDirectory } from './handshake/handshake.ts';
import type { Recording } from './recording.ts';
import { ClientSocket, type SocketMeans } from './socket/client-socket.ts';
import type { Spinner } from './socket/spinner.ts';
import type { ServerStatistics } from './statistics.ts';
import { BufferShare } from './transmission/buffer-share.ts';
import { ReplyWriter } from './transmission/reply-writer.ts';
import { Transmission } from './transmission/transmission.ts';

/** What all connections of a server share. */
export interface ConnectionOptions {
  readonly directory: OptionDirectory;
  /** The export of an agreed name. */
  readonly exportOf: (name: string) => Export;
  /** Which of the server's exports it is, from 0. */
  readonly numberOf: (target: Export) => number;
  readonly recording: Recording;
  readonly statistics: ServerStatistics;
  readonly spinner: Spinner;
  readonly handshakeTimeoutMs: number;
  readonly now: () => number;
  /** A violation or a failed handshake, one line. */
  readonly log: (message: string) => void;
}

export class Connection {
  /** Called once, when the socket is closed and nothing of the connection is left. */
  onEnd: () => void = () => undefined;

  readonly #socket: ClientSocket;
  readonly #options: ConnectionOptions;
  readonly #handshake: Handshake;
  #transmission: Transmission | undefined;
  readonly #timer: NodeJS.Timeout;
  #writer: ReplyWriter | undefined;
  #shippedCount = -1; // at the last look whether the client takes its replies; -1 if it owed none
  #receivedCount = 0; // pieces of the stream
  #awaitedCount = -1; // how many those were at the last look; -1 if no buffer waited for more
  #isWakeScheduled = false;
  #isEnded = false;

  /** `means` are those that let a socket be read and written without Node's streams. */
  constructor(accepted: Socket, means: SocketMeans | undefined, options: ConnectionOptions) {
    this.#options = options;
    this.#handshake = new Handshake(options.directory, (reply) => this.#socket.send([reply]));
    this.#timer = setTimeout(() => this.#socket.destroy(), options.handshakeTimeoutMs);
    this.#socket = new ClientSocket(accepted, means, {
      received: (bytes) => this.#receive(bytes),
      ended: () => this.#leave(),
      closed: () => this.#end(),
    });
    this.#socket.send([this.#handshake.greeting()]);
  }

  /** Lets requests under way finish, refuses new ones, then hangs up. */
  shutDown(): void {
    if (this.#transmission === undefined) this.#socket.destroy();
    else this.#transmission.shutDown();
  }

  /** Hangs up now. */
  destroy(): void {
    this.#socket.destroy();
  }

  /**
   * Looks whether the client has moved on since the last look: whether it took a reply that was under
   * way, and sent more of a payload that had begun. If not, it is dropped when others wait for the
   * buffers that it is holding.
   */
  lookForStall(): void {
    const writer = this.#writer;
    if (writer === undefined) return;
    const takesNone = writer.shippedCount === this.#shippedCount;
    this.#shippedCount = writer.isShipping ? writer.shippedCount : -1;
    const transmission = this.#transmission;
    const sendsNone = this.#receivedCount === this.#awaitedCount;
    this.#awaitedCount = transmission?.awaitsPayload === true ? this.#receivedCount : -1;
    const others = 'while others waited for buffers';
    if (takesNone && writer.share.isWaitedFor) this.#violate(`it took no replies ${others}`);
    else if (sendsNone && transmission?.writeShare.isWaitedFor === true)
      this.#violate(`it sent no more of a write ${others}`);
  }

  /** Answers whether more may come before room is told of. */
  #receive(chunk: Buffer): boolean {
    if (this.#transmission !== undefined) {
      this.#receivedCount++;
      this.#options.spinner.note();
      return this.#transmission.receive(chunk);
    }
    const handshake = this.#handshake;
    handshake.feed(chunk);
    if (handshake.state === 'closed') {
      const { closed } = handshake;
      if (closed?.isViolation === true) this.#violate(closed.reason);
      else this.#socket.end();
      return true;
    }
    if (handshake.result === undefined) return true;
    clearTimeout(this.#timer);
    this.#begin(handshake.result);
    return handshake.leftover.length === 0 || this.#receive(handshake.leftover);
  }

  #begin(result: HandshakeResult): void {
    const { statistics, now, recording } = this.#options;
    const target = this.#options.exportOf(result.exportName);
    const sink = {
      write: (segments: readonly Buffer[], done: () => void) => {
        this.#options.spinner.noteReply();
        this.#socket.send(segments, done);
      },
    };
    const writer = new ReplyWriter(sink, new BufferShare(target.buffers), target.pages.lender);
    writer.onRoom = () => this.#wake();
    this.#writer = writer;
    this.#transmission = new Transmission({
      export: target,
      promises: {
        sizeBytes: target.sizeBytes,
        transmissionFlags: result.transmissionFlags,
        isStructured: result.isStructured,
        hasMetaContext: result.metaContexts.length > 0,
      },
      metaContextIds: result.metaContexts.map(({ id }) => id),
      writer,
      statistics,
      host: {
        fail: (reason) => this.#violate(reason),
        finish: () => this.#socket.end(),
        wake: () => this.#wake(),
      },
      now,
      waits: this.#options.spinner,
      recording,
      exportNumber: this.#options.numberOf(target),
    });
  }

  /** Resumes in a turn of its own: room appears in the middle of other things. */
  #wake(): void {
    if (this.#isWakeScheduled) return;
    this.#isWakeScheduled = true;
    setImmediate(this.#resume);
  }

  readonly #resume = (): void => {
    this.#isWakeScheduled = false;
    if (this.#isEnded || this.#transmission === undefined) return;
    if (this.#transmission.resume()) this.#socket.resume();
  };

  /** The client will send no more: what it asked for is still answered. */
  #leave(): void {
    if (this.#transmission === undefined) this.#socket.end();
    else this.#transmission.leave();
  }

  #violate(reason: string): void {
    this.#options.statistics.violations++;
    this.#options.log(`a client was disconnected: ${reason}`);
    this.#socket.destroy();
  }

  #end(): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    clearTimeout(this.#timer);
    if (this.#transmission === undefined) this.#options.statistics.failedHandshakes++;
    this.#transmission?.close();
    this.onEnd();
  }
}
