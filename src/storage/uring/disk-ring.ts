/**
 * Positioned reads and writes through io_uring. All requests that come up in one turn of the event
 * loop are handed to the kernel by one system call, and no other thread is crossed on the way there
 * or back: a thread pool takes two wake-ups for every request.
 *
 * Node cannot wait for a ring, but it can wait for a socket. So behind every request, linked to it,
 * goes the sending of one byte to a socket of this process; when the loop finds the bytes there, it
 * looks for completions.
 */

import type { Socket } from 'node:net';
import { constants } from 'node:os';
import { clearInterval, setImmediate, setInterval, setTimeout } from 'node:timers';
import { getSystemErrorMap, getSystemErrorName } from 'node:util';
import { socketOn } from '../../lib/socket-on.ts';
import { IoPlaces } from '../io-places.ts';
import { THREAD_IO } from '../thread-io.ts';
import type { PositionedCall } from '../transfer.ts';
import { OPERATION, Queues, SUBMISSION_FLAG } from './queues.ts';
import type { UringCalls } from './system-calls.ts';

/** Requests under way at a time; who begins one has one of the ring's places. */
const REQUESTS_MAX = 256;

/** A request and the byte that tells of it. */
const SUBMISSIONS_PER_REQUEST = 2;

/** What the byte's own submission is known by; it completes with a word only if it fails. */
const WAKE_TOKEN = 0xffff_ffff;

const WAKE_BYTES = 4096;
const WAKE_LENGTH = 1;

/** When what the kernel did not take is handed over again, milliseconds. */
const RETRY_MS = 1;

/** After so many refusals in a row the ring is given up: five seconds' worth. */
const REFUSALS_MAX = 5000;

/** How often completions are looked for that nothing told of, milliseconds. */
const WATCH_MS = 100;

/**
 * Requests that are handed over at once in one turn of the event loop. What the page cache has, or a
 * hole, is there at once too: who asks for one after the other would keep all others from their turn.
 */
const AT_ONCE_MAX = 8;

/** What the kernel answers when it is short of memory, or was interrupted. */
const EAGAIN = -constants.errno.EAGAIN;
const EINTR = -constants.errno.EINTR;
const WORTH_ANOTHER_TRY = new Set(['EAGAIN', 'EBUSY', 'EINTR', 'ENOMEM']);

type Callback = (error: NodeJS.ErrnoException | null, count: number) => void;

/** One positioned read or write. */
interface DiskRequest {
  readonly operation: number;
  readonly fd: number;
  /** Held until it is done, so that its memory stays. */
  readonly buffer: Buffer;
  readonly bufferOffset: number;
  readonly length: number;
  readonly position: number;
  readonly callback: Callback;
}

/** One ring and its requests; it stays for as long as the process, and alone keeps nothing running. */
export class DiskRing {
  readonly places = new IoPlaces(REQUESTS_MAX);
  readonly #calls: UringCalls;
  readonly #queues: Queues;
  readonly #wakeSocket: Socket;
  readonly #wakeFd: number;
  /** What is sent; it must stay where it is. */
  readonly #wakeByte = Buffer.alloc(1);
  readonly #wakeAddress: number;
  /** Those under way, by their tokens. */
  readonly #requests: (DiskRequest | undefined)[] = [];
  readonly #freeTokens: number[] = [];
  #isScheduled = false;
  /** Handed over at once since the last turn of the event loop that is known of. */
  #atOnceCount = 0;
  #refusalCount = 0;
  #watcher: NodeJS.Timeout | undefined;
  /** The kernel takes no more: what comes goes the way of Node's own calls. */
  #isBroken = false;

  /** A string says why there is none. */
  static open(calls: UringCalls): DiskRing | string {
    const queues = Queues.open(calls, 2 * REQUESTS_MAX * SUBMISSIONS_PER_REQUEST);
    if (typeof queues === 'string') return queues;
    const pair = calls.socketPair();
    if (pair === undefined) return 'there are no descriptors left';
    return new DiskRing(calls, queues, pair);
  }

  private constructor(calls: UringCalls, queues: Queues, [own, other]: readonly [number, number]) {
    this.#calls = calls;
    this.#queues = queues;
    this.#wakeFd = other;
    this.#wakeAddress = calls.addressOf(this.#wakeByte);
    for (let token = REQUESTS_MAX - 1; token >= 0; token--) this.#freeTokens.push(token);
    this.#wakeSocket = socketOn(own, {
      writable: false,
      memory: Buffer.alloc(WAKE_BYTES),
      onRead: () => {
        this.#atOnceCount = 0;
        this.#complete();
        return true;
      },
    });
    this.#wakeSocket.unref();
  }

  /** As `fs.read`. */
  readonly read: PositionedCall = (fd, buffer, bufferOffset, length, position, callback) => {
    const operation = OPERATION.read;
    this.#begin({ operation, fd, buffer, bufferOffset, length, position, callback });
  };

  /** As `fs.write`. */
  readonly write: PositionedCall = (fd, buffer, bufferOffset, length, position, callback) => {
    const operation = OPERATION.write;
    this.#begin({ operation, fd, buffer, bufferOffset, length, position, callback });
  };

  #begin(request: DiskRequest): void {
    if (this.#isBroken) {
      this.#callOnThread(request);
      return;
    }
    const token = this.#freeTokens.pop();
    if (token === undefined) throw new Error('disk ring: a request was begun without a place');
    if (this.#freeTokens.length === REQUESTS_MAX - 1) this.#wakeSocket.ref();
    this.#requests[token] = request;
    this.#push(request, token);
    this.#watcher ??= setInterval(this.#watch, WATCH_MS).unref();
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    // Whoever is alone waits for no others: a turn of the event loop is a part of its time.
    const isAlone = this.#freeTokens.length === REQUESTS_MAX - 1;
    if (isAlone && this.#atOnceCount++ < AT_ONCE_MAX) queueMicrotask(this.#submit);
    else setImmediate(this.#submitInTurn);
  }

  #push({ operation, fd, buffer, bufferOffset, length, position }: DiskRequest, token: number) {
    const queues = this.#queues;
    const address = this.#calls.addressOf(buffer) + bufferOffset;
    const { hardLink, skipSuccess } = SUBMISSION_FLAG;
    queues.push(operation, hardLink, fd, position, address, length, token);
    const { send } = OPERATION;
    queues.push(send, skipSuccess, this.#wakeFd, 0, this.#wakeAddress, WAKE_LENGTH, WAKE_TOKEN);
  }

  readonly #submitInTurn = (): void => {
    this.#atOnceCount = 0;
    this.#submit();
  };

  /** Hands over what this turn of the event loop has gathered. */
  readonly #submit = (): void => {
    this.#isScheduled = false;
    const failure = this.#queues.submit();
    this.#refusalCount = failure < 0 ? this.#refusalCount + 1 : 0;
    const isHopeless = this.#refusalCount > REFUSALS_MAX;
    const mayPass = failure >= 0 || WORTH_ANOTHER_TRY.has(getSystemErrorName(failure));
    if (!mayPass || isHopeless) this.#break();
    this.#complete();
    if (this.#queues.pendingCount === 0 || this.#isScheduled) return;
    this.#isScheduled = true;
    if (failure < 0) setTimeout(this.#submit, RETRY_MS);
    else setImmediate(this.#submit); // a part of it was taken
  };

  /**
   * Looks for completions that nothing told of. A request may have been taken without its byte when
   * the kernel was short of memory, and none may ever be forgotten.
   */
  readonly #watch = (): void => {
    this.#complete();
    if (this.#freeTokens.length < REQUESTS_MAX) return;
    clearInterval(this.#watcher);
    this.#watcher = undefined;
  };

  /** Leaves what the kernel has not taken, and what comes, to Node's own calls. */
  #break(): void {
    this.#isBroken = true;
    for (const token of this.#queues.withdraw()) {
      if (token !== WAKE_TOKEN) this.#callOnThread(this.#release(token));
    }
  }

  #callOnThread(request: DiskRequest): void {
    const { operation, fd, buffer, bufferOffset, length, position, callback } = request;
    const call = operation === OPERATION.read ? THREAD_IO.read : THREAD_IO.write;
    call(fd, buffer, bufferOffset, length, position, callback);
  }

  #complete(): void {
    const queues = this.#queues;
    while (queues.next()) if (queues.token !== WAKE_TOKEN) this.#end(queues.token, queues.result);
  }

  #end(token: number, result: number): void {
    const request = this.#release(token);
    if (result >= 0) request.callback(null, result);
    // Some drivers and signals end a request that the same call would only have waited for.
    else if (result === EAGAIN || result === EINTR) this.#callOnThread(request);
    else request.callback(systemError(request.operation, result), 0);
  }

  /** Takes back a token. */
  #release(token: number): DiskRequest {
    const request = this.#requests[token]!;
    this.#requests[token] = undefined;
    this.#freeTokens.push(token);
    if (this.#freeTokens.length === REQUESTS_MAX) this.#wakeSocket.unref();
    return request;
  }
}

/** What Node's own calls would have answered. */
function systemError(operation: number, result: number): NodeJS.ErrnoException {
  const [code, text] = getSystemErrorMap().get(result) ?? [getSystemErrorName(result), 'unknown'];
  const syscall = operation === OPERATION.read ? 'read' : 'write';
  const error = new Error(`${code}: ${text}, ${syscall}`);
  return Object.assign(error, { code, syscall, errno: result });
}
