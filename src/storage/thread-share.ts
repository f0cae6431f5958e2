/**
 * What one file may have of the threads of libuv, which all files of the process share: with a disk
 * that hangs it would have all of them before long, and no other file could so much as be synced.
 */

import { type PositionedIo, THREAD_IO } from './thread-io.ts';
import type { PositionedCall } from './transfer.ts';

/** The rest is for the other files, and for what is not counted: a sync, a look at the file's name. */
const SHARE = 3 / 4;
/** As many as libuv makes at the most. */
const THREADS_MAX = 1024;

let callsMax = Number.POSITIVE_INFINITY;

/**
 * From now on each file has at most its share of the threads; before there is no bound. `wanted` is
 * UV_THREADPOOL_SIZE, read as libuv reads it: the number that it begins with, and none is one.
 */
export function shareThreads(wanted: string): void {
  const count = Number.parseInt(wanted, 10) || 1;
  const threads = count < 0 ? THREADS_MAX : Math.min(count, THREADS_MAX);
  callsMax = Math.max(1, Math.floor(threads * SHARE));
}

/** The share of one file. What is beyond it waits in order. */
export class ThreadShare implements PositionedIo {
  readonly name: string;
  readonly usesThreads = true;
  readonly #io: PositionedIo;
  #underWayCount = 0;
  readonly #waiting: (() => void)[] = [];

  /** `io` uses threads; it is what moves the bytes. */
  constructor(io: PositionedIo = THREAD_IO) {
    this.name = io.name;
    this.#io = io;
  }

  readonly read: PositionedCall = (...call) => this.#move('read', ...call);
  readonly write: PositionedCall = (...call) => this.#move('write', ...call);

  /** Another call that has a thread to itself. */
  async run<Result>(call: () => Promise<Result>): Promise<Result> {
    await new Promise<void>((begin) => this.#enter(begin));
    try {
      return await call();
    } finally {
      this.#end();
    }
  }

  #move(verb: 'read' | 'write', ...call: Parameters<PositionedCall>): void {
    const [fd, buffer, bufferOffset, length, position, callback] = call;
    this.#enter(() =>
      this.#io[verb](fd, buffer, bufferOffset, length, position, (error, count) => {
        this.#end();
        callback(error, count);
      }),
    );
  }

  #enter(begin: () => void): void {
    if (this.#underWayCount >= callsMax) {
      this.#waiting.push(begin);
      return;
    }
    this.#underWayCount++;
    begin();
  }

  #end(): void {
    this.#underWayCount--;
    const next = this.#waiting.shift();
    if (next !== undefined) this.#enter(next);
  }
}
