/** The calls of one file, which have their share of places that all files have together. */

import { type PositionedIo, THREAD_IO } from './thread-io.ts';
import type { PositionedCall } from './transfer.ts';

/** The share of one file. What is beyond it waits in order. */
export class IoShare implements PositionedIo {
  readonly name: string;
  readonly places: PositionedIo['places'];
  readonly #io: PositionedIo;
  #underWayCount = 0;
  readonly #waiting: (() => void)[] = [];

  /** `io` is what moves the bytes. */
  constructor(io: PositionedIo = THREAD_IO) {
    this.name = io.name;
    this.places = io.places;
    this.#io = io;
  }

  readonly read: PositionedCall = (...call) => this.#move('read', ...call);
  readonly write: PositionedCall = (...call) => this.#move('write', ...call);

  /** Another call that has a place to itself. */
  async run<Result>(call: () => Promise<Result>): Promise<Result> {
    await new Promise<void>((begin) => this.#enter(begin));
    try {
      return await call();
    } finally {
      this.#end();
    }
  }

  get isWaiting(): boolean {
    return this.#waiting.length > 0;
  }

  beginNext(): boolean {
    if (!this.places.mayTake(this.#underWayCount)) return false;
    const begin = this.#waiting.shift();
    if (begin === undefined) return false;
    this.#begin(begin);
    return true;
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
    if (this.places.mayTake(this.#underWayCount)) this.#begin(begin);
    else {
      this.#waiting.push(begin);
      this.places.waitFor(this);
    }
  }

  #begin(begin: () => void): void {
    this.#underWayCount++;
    this.places.take();
    begin();
  }

  #end(): void {
    this.#underWayCount--;
    this.places.release();
  }
}
