/**
 * The transmission phase of one connection: requests in, replies out. It knows no socket: bytes
 * come by `receive`, replies leave by a ReplyWriter, and `Host` does the rest.
 *
 * Requests are taken in order and one at a time; one that cannot go on for lack of room stops the
 * taking, and `resume` tries it again. What must wait for the image goes on by itself meanwhile.
 */

import {
  Command,
  CommandFlag,
  nbdErrnoOf,
  PAYLOAD_DRAIN_BYTES_MAX,
  WireBytes,
} from '../protocol.ts';
import { Recording } from '../recording.ts';
import type { RequestCounts } from '../statistics.ts';
import { BufferShare } from './buffer-share.ts';
import { carryOutOther } from './other-commands.ts';
import { PayloadDrain } from './payload-drain.ts';
import { Reads } from './reads.ts';
import {
  type Cookie,
  SHORT_REPLY_BYTES_MAX,
  writeErrorChunk,
  writeSimpleReply,
} from './replies.ts';
import { Request, refusalOf } from './request.ts';
import type { TransmissionOptions } from './transmission-options.ts';
import { IncomingWrite } from './writes.ts';

/** Requests of one connection that may wait for the image at a time. */
const WAITING_COUNT_MAX = 128;

export class Transmission {
  readonly options: TransmissionOptions;
  /** The buffers that payloads may hold, which may wait for a slow disk: a part, so that others can read. */
  readonly writeShare: BufferShare;
  /** While a long reply in the simple style is under way no other may come between. */
  isExclusive = false;

  readonly #request = new Request();
  readonly #header = Buffer.alloc(WireBytes.REQUEST);
  #headerBytes = 0; // of an incomplete header, kept over from the last chunk
  #hasRequest = false; // #request is parsed and not yet carried out
  #input: Buffer | undefined; // what is not yet taken
  #at = 0;
  #write: IncomingWrite | undefined;
  readonly #drain = new PayloadDrain();
  #waitingCount = 0;
  /** A BLOCK_STATUS is under way: thousands of system calls, so one at a time for each client. */
  #isMapping = false;
  #hasEnded = false; // no more bytes will come; those that came are still requests
  #isLeaving = false; // the rest of the input is not for us
  #isShuttingDown = false;
  #isFinished = false; // the host was told
  #isClosed = false;
  #hitCount = 0;
  #writeCount = 0;
  #turnStarted = 0; // on the clock: what is taken in a turn came before it
  readonly #recording: Recording;
  readonly #exportNumber: number;
  readonly #reads: Reads;
  readonly #counts: RequestCounts;
  readonly #heldReplies: (() => void)[] = [];

  constructor(options: TransmissionOptions) {
    this.options = options;
    this.writeShare = new BufferShare(options.export.buffers);
    this.#counts = options.statistics.requestsOf(options.export.name);
    this.#recording = options.recording ?? new Recording();
    this.#exportNumber = options.exportNumber ?? 0;
    this.#reads = new Reads(this);
  }

  /** Requests that wait for the image. */
  get waitingCount(): number {
    return this.#waitingCount;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Whether a buffer of a write waits for bytes that the client has yet to send. */
  get awaitsPayload(): boolean {
    return this.#input === undefined && this.#write?.hasPiece === true;
  }

  /**
   * Takes bytes of the client. Answers whether all were taken; if not, nothing more must come
   * until `resume` answers yes. The chunk is the caller's again when it answers.
   */
  receive(chunk: Buffer): boolean {
    this.#input = chunk;
    this.#at = 0;
    if (this.resume()) return true;
    if (this.#input !== undefined) this.#input = Buffer.from(this.#input.subarray(this.#at));
    this.#at = 0;
    return false;
  }

  /** Goes on with what was not taken; answers as `receive`. */
  resume(): boolean {
    if (this.#isClosed || this.#isFinished) return true;
    this.#turnStarted = this.options.now();
    this.#hitCount = 0;
    this.#writeCount = 0;
    this.options.writer.beginTurn();
    this.#takeAll();
    this.options.writer.flush();
    this.#countTurn();
    return this.#input === undefined;
  }

  #countTurn(): void {
    if (this.#hitCount + this.#writeCount === 0) return;
    const each = this.options.now() - this.#turnStarted;
    const { latencies } = this.options.statistics;
    if (this.#hitCount > 0) latencies[Command.READ]!.record(each, this.#hitCount);
    if (this.#writeCount > 0) latencies[Command.WRITE]!.record(each, this.#writeCount);
  }

  /**
   * Takes no more requests; those under way are finished, then the host is told. What was not begun
   * gets no answer rather than ESHUTDOWN: a client that connects again, such as QEMU with
   * `reconnect-delay`, repeats what was not answered, but hands an error on to its guest.
   */
  shutDown(): void {
    this.#isShuttingDown = true;
    this.resume();
  }

  /** The client sends no more: what it asked for is answered, then the host is told. */
  leave(): void {
    this.#hasEnded = true;
    this.resume();
  }

  /** Drops the client for `reason`; nothing that it sent is looked at any more. */
  fail(reason: string): void {
    if (this.#isClosed) return;
    this.options.writer.flush(); // what was answered before is answered
    this.options.host.fail(reason);
    this.close();
  }

  /** The connection is gone: whatever ends later ends silently. */
  close(): void {
    this.#isClosed = true;
    this.#input = undefined;
    this.#write?.abandon();
    this.#write = undefined;
    this.#reads.long.close();
    this.options.writer.close();
    this.writeShare.close();
  }

  /** Whether a long-running request should go on. */
  get mayGoOn(): boolean {
    return !this.#isClosed && !this.#isShuttingDown;
  }

  /** Answers a request without data in the same turn. */
  answerAtOnce(request: Request, errno: number): void {
    this.#countRefusal(request.command, errno, this.#turnStarted);
    this.appendShort(request, request.command, errno);
  }

  #countRefusal(command: number, errno: number, started: number): void {
    this.options.statistics.latencyOf(command).record(this.options.now() - started, 1);
    this.#counts.count(command, errno);
  }

  /** Counts a READ that was answered in the same turn of the event loop. */
  countHit(): void {
    this.#hitCount++;
    this.#counts.count(Command.READ, 0);
  }

  /** Runs `work` beside the taking of requests; `answer` sends the reply when it has ended. */
  wait(
    command: number,
    work: Promise<void>,
    answer: (errno: number) => void,
    errnoOf: (cause: unknown) => number = nbdErrnoOf,
  ): void {
    const started = this.options.now();
    this.#waitingCount++;
    this.options.waits?.noteWait();
    if (command === Command.BLOCK_STATUS) this.#isMapping = true;
    const end = (errno: number): void => {
      const seconds = this.options.now() - started;
      this.options.statistics.latencies[command]!.record(seconds, 1);
      this.#counts.count(command, errno);
      this.options.waits?.noteWaitEnd(seconds);
      this.send(() => answer(errno));
      this.#waitingCount--;
      if (command === Command.BLOCK_STATUS) this.#isMapping = false;
      this.#wakeIfWaiting();
    };
    work.then(
      () => end(0),
      (cause: unknown) => end(errnoOf(cause)),
    );
  }

  /** Appends a reply when the way is free: at once, or behind a long one in the simple style. */
  send(append: () => void): void {
    if (this.#isClosed) {
      append(); // the writer is closed and only gives back what it is handed
      return;
    }
    if (this.isExclusive) {
      this.#heldReplies.push(append);
      return;
    }
    append();
    this.options.writer.flushSoon();
  }

  /** Ends the exclusive reply: those held back go out, and requests are taken again. */
  endExclusive(): void {
    this.isExclusive = false;
    for (const append of this.#heldReplies.splice(0)) this.send(append);
    this.options.host.wake();
  }

  /** Appends a reply without data: success or an error, in the style the command needs. */
  appendShort(cookie: Cookie, command: number, errno: number): void {
    const { writer, promises } = this.options;
    const needsChunk = command === Command.READ || command === Command.BLOCK_STATUS;
    const append = (to: Buffer, at: number): number =>
      promises.isStructured && needsChunk
        ? writeErrorChunk(to, at, cookie, 1, errno)
        : writeSimpleReply(to, at, cookie, errno);
    if (writer.reserve(SHORT_REPLY_BYTES_MAX)) {
      writer.position = append(writer.batch, writer.position);
      return;
    }
    const owned = Buffer.alloc(SHORT_REPLY_BYTES_MAX);
    writer.appendOwned(owned.subarray(0, append(owned, 0)));
  }

  #takeAll(): void {
    while (!this.#isClosed && this.#takeOne()) {
      // each turn takes a header, a request, or a part of a payload
    }
    if (this.#isClosed || this.#hasRequest || this.isExclusive || this.#reads.long.isBusy) return;
    if (this.#input !== undefined && this.#at < this.#input.length) return;
    this.#input = undefined;
    if (this.#hasEnded && !this.#isLeaving) {
      this.#isLeaving = true;
      this.#write?.abandon();
      this.#write = undefined;
    }
    if (this.#isLeaving && this.#waitingCount === 0) this.#finish();
  }

  #finish(): void {
    this.#isFinished = true;
    this.options.writer.flush();
    this.options.host.finish();
  }

  /** One step; no when there is nothing to take, or no room to go on. */
  #takeOne(): boolean {
    if (this.isExclusive) return false;
    if (this.#reads.long.isBusy && !this.#reads.long.goOn()) return false;
    if (this.#isLeaving) {
      this.#at = this.#input?.length ?? 0;
      return false;
    }
    if (this.#drain.isActive) return this.#takeUnwanted();
    if (this.#write !== undefined) return this.#takePayload(this.#write);
    if (this.#isShuttingDown) {
      this.#hasRequest = false; // it was not begun
      this.#isLeaving = true;
      return true;
    }
    if (!this.#hasRequest && !this.#takeHeader()) return false;
    if (this.#waitingCount >= WAITING_COUNT_MAX || !this.options.writer.hasRoom) return false;
    if (this.#isMapping && this.#request.command === Command.BLOCK_STATUS) return false;
    if (!this.#carryOut(this.#request)) return false;
    this.#hasRequest = false;
    return true;
  }

  #takeHeader(): boolean {
    const input = this.#input;
    if (input === undefined) return false;
    const isWhole = this.#headerBytes === 0 && input.length - this.#at >= WireBytes.REQUEST;
    let isRequest: boolean;
    if (isWhole) {
      isRequest = this.#request.parse(input, this.#at);
      this.#at += WireBytes.REQUEST;
    } else {
      const wanted = WireBytes.REQUEST - this.#headerBytes;
      const end = Math.min(input.length, this.#at + wanted);
      input.copy(this.#header, this.#headerBytes, this.#at, end);
      this.#headerBytes += end - this.#at;
      this.#at = end;
      if (this.#headerBytes < WireBytes.REQUEST) return false;
      this.#headerBytes = 0;
      isRequest = this.#request.parse(this.#header, 0);
    }
    if (!isRequest) {
      this.fail('a request without the magic number');
      return false;
    }
    this.#hasRequest = true;
    return true;
  }

  /** Carries the request out or begins to; no when there is no room for its reply. */
  #carryOut(request: Request): boolean {
    const { command } = request;
    if (command === Command.DISC) {
      this.#counts.count(command, 0);
      this.#isLeaving = true;
      return true;
    }
    const errno = refusalOf(request, this.options.promises);
    if (errno !== 0) return this.#refuse(request, errno);
    if (command === Command.READ) {
      if (!this.#reads.begin(request)) return false;
    } else if (command === Command.WRITE && request.length > 0) {
      if (!this.#writeAtOnce(request)) this.#write = new IncomingWrite(this, request);
    } else {
      carryOutOther(this, request);
    }
    const { recorder } = this.#recording;
    if (recorder === undefined) return true;
    const { flags, offset, length } = request;
    recorder.record(this.#exportNumber, command, flags, offset, length, this.#turnStarted);
    return true;
  }

  /** Hands over a WRITE whose whole payload is here, if the export takes it in this turn. */
  #writeAtOnce(request: Request): boolean {
    const input = this.#input;
    const { offset, length } = request;
    if (input === undefined || input.length - this.#at < length) return false;
    const { export: target, writer } = this.options;
    const taken = target.tryWrite(offset, length, input, this.#at);
    if (taken === false) return false;
    this.#at += length;
    const hasFua = (request.flags & CommandFlag.FUA) !== 0;
    if (taken === true && !hasFua) {
      // It was asked whether there is room before the request was begun.
      writer.position = writeSimpleReply(writer.batch, writer.position, request, 0);
      this.#writeCount++;
      this.#counts.count(Command.WRITE, 0);
      return true;
    }
    const cookie = request.cookie();
    const work = taken === true ? Promise.resolve() : taken;
    this.wait(Command.WRITE, hasFua ? work.then(() => target.sync()) : work, (errno) =>
      this.appendShort(cookie, Command.WRITE, errno),
    );
    return true;
  }

  /** Answers an error; a payload that comes with the request is read and thrown away first. */
  #refuse(request: Request, errno: number): boolean {
    const { command, length } = request;
    const cookie = request.cookie();
    const started = this.#turnStarted;
    if (command === Command.WRITE && length > PAYLOAD_DRAIN_BYTES_MAX) {
      this.fail(`a write of ${length} bytes`);
      return true;
    }
    const answer = (): void => {
      this.#countRefusal(command, errno, started);
      this.send(() => this.appendShort(cookie, command, errno));
    };
    if (command === Command.WRITE && length > 0) this.#drain.begin(length, answer);
    else answer();
    return true;
  }

  #takeUnwanted(): boolean {
    if (this.#input === undefined) return false;
    this.#at += this.#drain.take(this.#input.length - this.#at);
    return !this.#drain.isActive;
  }

  #takePayload(write: IncomingWrite): boolean {
    const input = this.#input;
    if (input === undefined || this.#at === input.length) return false;
    const taken = write.take(input, this.#at);
    this.#at += taken;
    if (write.isComplete) this.#write = undefined;
    return taken > 0;
  }

  #wakeIfWaiting(): void {
    if (this.#input !== undefined || this.#isLeaving) this.options.host.wake();
  }
}
