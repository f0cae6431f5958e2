/**
 * A client's socket: what comes in, what goes out, and in whose hands both are. Node watches it and
 * reads when something comes. Where the system calls can be had, replies are sent by one at once,
 * and what the system does not take goes by Node's queue, in order; and while the service stays
 * awake for the next request (see Spinner) the socket is asked directly, without a poll set.
 */

import type { Socket } from 'node:net';
import { constants } from 'node:os';
import { socketOn } from '../../lib/socket-on.ts';
import type { SocketCalls } from './socket-calls.ts';
import type { Poller, Spinner } from './spinner.ts';

/** Bytes that are read at a time. */
export const RECEIVE_BYTES = 128 * 1024;

/** What a Unix socket should hold of a long reply; TCP finds out for itself what suits the way. */
const SEND_BYTES = 1024 * 1024;

/** After so long without a word a client's system is asked whether it is still there, milliseconds. */
const SILENT_MS_MAX = 60_000;

/** How often it is asked whether a client has all that it was sent, and for how long, milliseconds. */
const DELIVERY_MS = 20;
const DELIVERY_MS_MAX = 5_000;

/** Why a socket takes nothing now though nothing is wrong with it. */
const { EAGAIN, EINTR, ENOBUFS, ENOMEM } = constants.errno;
const WORTH_ANOTHER_TRY = new Set([EAGAIN, EINTR, ENOBUFS, ENOMEM]);

const NOTHING: readonly Buffer[] = [];

/** What the sockets of one server share. */
export interface SocketMeans {
  readonly calls: SocketCalls;
  readonly spinner: Spinner;
  /** Where all of them receive: what is there must be used before the next one is asked. */
  readonly memory: Buffer;
}

/** What happens to a socket. */
export interface SocketEvents {
  /** Bytes have come, which stay for this call only. No means: nothing more before `resume`. */
  readonly received: (bytes: Buffer) => boolean;
  /** The client sends no more. */
  readonly ended: () => void;
  /** It is gone, once. */
  readonly closed: () => void;
}

/** Bytes on their way, and who waits for them to have gone. */
interface HeldWrite {
  readonly segments: readonly Buffer[];
  readonly sent: (() => void) | undefined;
}

export class ClientSocket implements Poller {
  readonly #socket: Socket;
  readonly #events: SocketEvents;
  readonly #means: SocketMeans | undefined;
  /** Good for the calls until the socket is destroyed; -1 without them. */
  readonly #fd: number;
  /** What the system did not take at once; it is offered again in every turn of the spin. */
  readonly #held: HeldWrite[] = [];
  /** Writes that are in Node's queue; nothing may overtake them. */
  #queuedCount = 0;
  /** The spinner calls `poll` in every turn, and `leave` at the end. */
  #hasJoined = false;
  /** Requests are looked for here, and not by Node. */
  #isPolled = false;
  #isEnding = false;
  #deliveryTimer: NodeJS.Timeout | undefined;

  /** Takes over `accepted`, which is paused where there are means. */
  constructor(accepted: Socket, means: SocketMeans | undefined, events: SocketEvents) {
    this.#events = events;
    this.#fd = means === undefined ? -1 : duplicateOf(accepted, means.calls);
    this.#means = this.#fd === -1 ? undefined : means;
    const isUnix = accepted.remoteAddress === undefined;
    if (isUnix) this.#means?.calls.enlarge(this.#fd, SEND_BYTES);
    this.#socket =
      this.#means === undefined ? accepted : this.#reopen(accepted, this.#fd, this.#means.memory);
    const socket = this.#socket;
    socket.setNoDelay(true);
    socket.setKeepAlive(true, SILENT_MS_MAX);
    socket.on('end', events.ended);
    socket.on('error', () => undefined); // 'close' follows; a client that vanishes is normal
    socket.on('close', () => {
      means?.spinner.forget(this);
      clearInterval(this.#deliveryTimer);
      for (const { sent } of this.#held.splice(0)) sent?.();
      events.closed();
    });
    if (this.#means === undefined) socket.on('data', (bytes: Buffer) => this.#receive(bytes));
    socket.resume();
  }

  /** Sends the segments in order; `sent` is called when none is needed any more, maybe at once. */
  send(segments: readonly Buffer[], sent?: () => void): void {
    if (this.#held.length > 0) {
      this.#held.push({ segments, sent });
      return;
    }
    const rest = this.#sendNow(segments);
    if (rest.length === 0) sent?.();
    else if (this.#hasJoined && this.#queuedCount === 0) this.#held.push({ segments: rest, sent });
    else this.#enqueue(rest, sent);
  }

  /** Takes bytes again after `received` answered no. */
  resume(): void {
    if (this.#hasJoined) this.#isPolled = true;
    else if (this.#socket.isPaused()) this.#socket.resume();
  }

  /**
   * Sends what is queued, says goodbye, and hangs up when the client has all of it, or has had a
   * while. To hang up earlier would lose the rest if the client sends something meanwhile: its system
   * then learns that nobody is there, and stops asking. Without the calls it always gets the while.
   * More than once is once.
   */
  end(): void {
    if (this.#isEnding) return;
    this.#isEnding = true;
    this.#enqueueHeld();
    if (this.#queuedCount === 0 && this.#mayHangUp()) {
      this.#socket.destroy();
      return;
    }
    this.#socket.end(() => this.#awaitDelivery());
    this.resume(); // what still comes is for nobody, but it must not be left lying
  }

  /** Hangs up now. */
  destroy(): void {
    this.#socket.destroy();
  }

  poll(): void {
    const means = this.#means;
    if (means === undefined || this.#socket.destroyed) return;
    if (this.#held.length > 0) this.#offerHeld(means.spinner);
    if (!this.#isPolled) return;
    const count = means.calls.receive(this.#fd, means.memory);
    if (count < 0) return;
    if (count > 0) {
      // A pause is over when `resume` is called, which may be before the answer is back.
      this.#isPolled = false;
      const mayGoOn = this.#events.received(means.memory.subarray(0, count));
      this.#isPolled ||= mayGoOn;
      return;
    }
    // Node finds the end as well, and tells of it.
    this.#isPolled = false;
    this.#socket.resume();
  }

  leave(): void {
    this.#hasJoined = false;
    this.#enqueueHeld();
    if (!this.#isPolled) return;
    this.#isPolled = false;
    this.#socket.resume();
  }

  /** The same socket, read into memory that is ours. */
  #reopen(accepted: Socket, fd: number, memory: Buffer): Socket {
    accepted.destroy();
    const onRead = (count: number) => this.#receive(memory.subarray(0, count));
    return socketOn(fd, { writable: true, memory, onRead });
  }

  /** Hands on what Node has read; answers whether it may go on reading. */
  #receive(bytes: Buffer): boolean {
    if (!this.#events.received(bytes)) {
      this.#socket.pause();
      return false;
    }
    if (this.#hasJoined || this.#means?.spinner.join(this) !== true) return true;
    this.#hasJoined = this.#isPolled = true;
    this.#socket.pause();
    return false;
  }

  /** Sends of what is held as much as the system takes now. */
  #offerHeld(spinner: Spinner): void {
    for (let first = this.#held[0]; first !== undefined; first = this.#held[0]) {
      const rest = this.#sendNow(first.segments);
      if (this.#held.length === 0) return; // it turned out that they are for Node to send
      if (rest !== first.segments) spinner.noteReply(); // the client is taking it
      if (rest.length > 0) {
        this.#held[0] = { ...first, segments: rest };
        return;
      }
      this.#held.shift();
      first.sent?.();
    }
  }

  #awaitDelivery(): void {
    if (this.#socket.destroyed) return;
    let msLeft = DELIVERY_MS_MAX;
    const look = (): void => {
      msLeft -= DELIVERY_MS;
      if (msLeft <= 0 || this.#mayHangUp()) this.#socket.destroy();
    };
    this.#deliveryTimer = setInterval(look, DELIVERY_MS);
  }

  /** Whether nothing can be lost: no bytes lie unread, and the client has its own or sends no more. */
  #mayHangUp(): boolean {
    const means = this.#means;
    if (means === undefined || this.#socket.destroyed) return false;
    const count = means.calls.receive(this.#fd, means.memory);
    return count === 0 || (count < 0 && means.calls.isDelivered(this.#fd));
  }

  /** Leaves to Node what is held. */
  #enqueueHeld(): void {
    for (const { segments, sent } of this.#held.splice(0)) this.#enqueue(segments, sent);
  }

  /** Sends what the system takes at once; answers what is left. */
  #sendNow(segments: readonly Buffer[]): readonly Buffer[] {
    if (this.#means === undefined || this.#queuedCount > 0 || this.#socket.destroyed) {
      return segments;
    }
    let sentBytes = this.#means.calls.send(this.#fd, segments);
    if (sentBytes <= 0) {
      // What is wrong with a socket Node finds out, and ends it.
      if (!WORTH_ANOTHER_TRY.has(-sentBytes)) this.#enqueueHeld();
      return segments;
    }
    for (let i = 0; i < segments.length; i++) {
      const segment = segments[i]!;
      if (sentBytes < segment.length)
        return [segment.subarray(sentBytes), ...segments.slice(i + 1)];
      sentBytes -= segment.length;
    }
    return NOTHING;
  }

  #enqueue(segments: readonly Buffer[], sent: (() => void) | undefined): void {
    const socket = this.#socket;
    const last = segments.length - 1;
    this.#queuedCount++;
    if (last > 0) socket.cork();
    for (let i = 0; i < last; i++) socket.write(segments[i]!);
    socket.write(segments[last]!, () => {
      this.#queuedCount--;
      sent?.();
    });
    if (last > 0) socket.uncork();
  }
}

/** Node does not say which descriptor a socket has; its handles do, on every system but Windows. */
function duplicateOf(socket: Socket, calls: SocketCalls): number {
  const { _handle: handle } = socket as Socket & { _handle?: { fd?: number } | null };
  return handle?.fd === undefined || handle.fd < 0 ? -1 : calls.duplicate(handle.fd);
}
