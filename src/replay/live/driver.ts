/**
 * Sends requests when they are due, whether or not earlier ones were answered: an open loop, in
 * which a server that is slow does not slow down what is asked of it. Only when every slot of every
 * connection is taken must a request wait, and then it is late by that much.
 *
 * Synchronous but for one promise a batch: nothing is allocated for a request.
 */

import { TmemError } from '../../lib/errors.ts';
import { OP, OP_NAMES, type RequestBatch } from '../../trace/request-batch.ts';
import type { ConnectionHost } from './connection.ts';
import { Latencies } from './latencies.ts';
import { errnoName } from './protocol.ts';
import type { LiveVolume } from './volume.ts';

/** What is left of a wait when the timer, which is not exact, gives way to looking at the clock. */
const EXACT_MS = 2;
const US_PER_MS = 1000;
const MS_PER_SECOND = 1000;
/** So many requests are sent before the clock is looked at again. */
const FLUSH_COUNT = 32;
/** What a timer of Node takes; longer waits are several. */
const TIMER_MS_MAX = 2 ** 31 - 1;
/** A server that answers nothing for so long has failed, milliseconds. */
const SILENCE_MS_MAX = 60_000;

/** What was done of one operation. */
export interface OpCounts {
  requests: number;
  bytes: number;
  readonly errors: Map<string, number>;
  /** Of requests that succeeded. */
  readonly latencies: Latencies;
}

export interface DriverOptions {
  /** By number of the trace's volume; those that it asks anything of. */
  readonly volumes: ReadonlyMap<number, LiveVolume>;
  readonly allowsWrites: boolean;
  /** How much faster than recorded; undefined for as fast as possible. */
  readonly speed: number | undefined;
  /** The trace's clock at its first request. */
  readonly firstTimeUs: number;
}

export class Driver implements ConnectionHost {
  /** Requests of the trace that were taken, and those that were not for their kind or emptiness. */
  replayed = 0;
  changesLeftOut = 0;
  unsupported = 0;
  empty = 0;
  folded = 0;
  /** Times at which a request was due and every slot was taken. */
  stalls = 0;
  readonly ops: readonly OpCounts[] = OP_NAMES.map(() => ({
    requests: 0,
    bytes: 0,
    errors: new Map(),
    latencies: new Latencies(),
  }));
  /** How late requests were sent. */
  readonly lag = new Latencies();
  startedMs = 0;
  readonly #options: DriverOptions;
  #batch: RequestBatch | undefined;
  #index = 0;
  /** Where in the present request the next piece of it begins; -1 before it is placed. */
  #piece = -1;
  #dueMs = 0;
  #isStalled = false;
  /** How many had been replayed at the last stall, which is counted once. */
  #stalledAfter = -1;
  #timer: NodeJS.Timeout | undefined;
  #immediate: NodeJS.Immediate | undefined;
  #heardMs = performance.now();
  #settle: { readonly resolve: () => void; readonly reject: (error: unknown) => void } | undefined;
  #failure: TmemError | undefined;

  constructor(options: DriverOptions) {
    this.#options = options;
    for (const { connections } of options.volumes.values()) {
      for (const connection of connections) connection.host = this;
    }
  }

  /** From the first request of the trace to the last that was sent, as they were due. */
  get plannedSeconds(): number {
    return Math.max(0, this.#dueMs - this.startedMs) / MS_PER_SECOND;
  }

  /** Sends a batch; resolves when all of it is sent. */
  send(batch: RequestBatch): Promise<void> {
    if (this.startedMs === 0) this.startedMs = performance.now();
    this.#batch = batch;
    this.#index = 0;
    return this.#until(() => this.#pump());
  }

  /** Resolves when all that was sent is answered. */
  drain(): Promise<void> {
    this.#batch = undefined;
    return this.#until(() => this.#endIfDrained());
  }

  /** Gives up: `send` or `drain` rejects. */
  fail(error: TmemError): void {
    this.#failure ??= error;
    clearTimeout(this.#timer);
    if (this.#immediate !== undefined) clearImmediate(this.#immediate);
    this.#settle?.reject(this.#failure);
  }

  failed(error: TmemError): void {
    const sentence = `${error.message} (after ${this.replayed} requests of the trace)`;
    this.fail(new TmemError(error.kind, sentence, { cause: error }));
  }

  /** Looks whether the server still answers; called at intervals. */
  lookForSilence(): void {
    const nowMs = performance.now();
    if (this.#waitingCount() === 0) this.#heardMs = nowMs;
    if (nowMs - this.#heardMs < SILENCE_MS_MAX) return;
    const seconds = SILENCE_MS_MAX / 1000;
    this.failed(new TmemError('io', `the server has answered nothing for ${seconds} s`));
  }

  replied(op: number, bytes: number, errno: number, latencyMs: number): void {
    const counts = this.ops[op]!;
    this.#heardMs = performance.now();
    if (errno === 0) {
      counts.bytes += bytes;
      counts.latencies.record(latencyMs * US_PER_MS);
      return;
    }
    const name = errnoName(errno);
    counts.errors.set(name, (counts.errors.get(name) ?? 0) + 1);
  }

  turned(): void {
    if (this.#isStalled) this.#pump();
    else if (this.#batch === undefined) this.#endIfDrained();
  }

  #until(begin: () => void): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
      if (this.#failure !== undefined) reject(this.#failure);
      else begin();
    });
  }

  #waitingCount(): number {
    let count = 0;
    for (const { connections } of this.#options.volumes.values()) {
      for (const { waitingCount } of connections) count += waitingCount;
    }
    return count;
  }

  #endIfDrained(): void {
    if (this.#waitingCount() === 0) this.#settle?.resolve();
  }

  readonly #pump = (): void => {
    const batch = this.#batch;
    if (batch === undefined || this.#failure !== undefined) return;
    this.#isStalled = false;
    let nowMs = performance.now();
    let unsent = 0;
    while (this.#index < batch.count) {
      if (this.#piece < 0 && !this.#begin(batch, this.#index)) {
        this.#index++;
        continue;
      }
      if (this.#dueMs > nowMs) {
        nowMs = this.#flush();
        if (this.#dueMs > nowMs) {
          this.#waitFor(this.#dueMs - nowMs);
          return;
        }
      }
      if (!this.#sendPieces(batch, this.#index, nowMs)) {
        this.#stall();
        return;
      }
      this.replayed++;
      this.#piece = -1;
      this.#index++;
      if (++unsent % FLUSH_COUNT === 0) nowMs = this.#flush();
    }
    this.#flush();
    this.#settle?.resolve();
  };

  /** Places a request, and says when it is due; no if it is left out. */
  #begin(batch: RequestBatch, index: number): boolean {
    const { volumes, allowsWrites, speed, firstTimeUs } = this.#options;
    const volume = volumes.get(batch.volume[index]!)!;
    const op = batch.op[index]!;
    const length = batch.length[index]!;
    if (op !== OP.read && !allowsWrites) {
      this.changesLeftOut++;
      return false;
    }
    if (!volume.supports(op)) {
      this.unsupported++;
      return false;
    }
    if (op !== OP.flush && length === 0) {
      this.empty++;
      return false;
    }
    if (op === OP.flush) {
      volume.offset = 0;
      volume.length = 0;
    } else if (volume.place(batch.offset[index]!, length)) {
      this.folded++;
    }
    this.#piece = 0;
    if (speed === undefined) return true;
    const afterMs = (batch.timeUs[index]! - firstTimeUs) / US_PER_MS / speed;
    // A trace whose clock steps back is not late for it.
    this.#dueMs = Math.max(this.#dueMs, this.startedMs + afterMs);
    return true;
  }

  /** Sends what is left of the request; no when there is no room for all of it. */
  #sendPieces(batch: RequestBatch, index: number, nowMs: number): boolean {
    const volume = this.#options.volumes.get(batch.volume[index]!)!;
    const op = batch.op[index]!;
    const most = volume.pieceBytesMax(op);
    do {
      const connection = volume.connection();
      if (connection === undefined) return false;
      const length = Math.min(most, volume.length - this.#piece);
      if (this.#piece === 0 && this.#options.speed !== undefined) {
        this.lag.record((nowMs - this.#dueMs) * US_PER_MS);
      }
      connection.add(op, volume.offset + this.#piece, length);
      this.ops[op]!.requests++;
      this.#piece += length;
    } while (this.#piece < volume.length);
    return true;
  }

  /** Sends what was added to the connections; answers the time. */
  #flush(): number {
    const nowMs = performance.now();
    for (const { connections } of this.#options.volumes.values()) {
      for (const connection of connections) connection.flush(nowMs);
    }
    return nowMs;
  }

  /** Goes on when an answer makes room. */
  #stall(): void {
    this.#isStalled = true;
    if (this.#stalledAfter !== this.replayed) this.stalls++;
    this.#stalledAfter = this.replayed;
    this.#flush();
  }

  #waitFor(ms: number): void {
    const timerMs = Math.min(ms - EXACT_MS, TIMER_MS_MAX);
    if (timerMs > 0) this.#timer = setTimeout(this.#pump, timerMs);
    else this.#immediate = setImmediate(this.#pump);
  }
}
