/** A transmission without a socket: a client of it, and a reader that is as slow as a test wants. */

import { TransmissionFlag } from '../../../src/nbd/protocol.ts';
import { ServerStatistics } from '../../../src/nbd/statistics.ts';
import { BufferShare } from '../../../src/nbd/transmission/buffer-share.ts';
import { ReplyWriter } from '../../../src/nbd/transmission/reply-writer.ts';
import { Transmission } from '../../../src/nbd/transmission/transmission.ts';
import type { Lender } from '../../../src/tmem/lender.ts';
import { makeExport } from '../../export/fixture.ts';
import { type Answer, type Asked, ReplyParser } from '../reply-parser.ts';
import { type ClientRequest, encodeRequest } from '../requests.ts';

export const ALL_FLAGS =
  TransmissionFlag.HAS_FLAGS |
  TransmissionFlag.SEND_FLUSH |
  TransmissionFlag.SEND_FUA |
  TransmissionFlag.SEND_TRIM |
  TransmissionFlag.SEND_WRITE_ZEROES |
  TransmissionFlag.SEND_DF |
  TransmissionFlag.CAN_MULTI_CONN |
  TransmissionFlag.SEND_CACHE |
  TransmissionFlag.SEND_FAST_ZERO;
export const READ_ONLY_FLAGS =
  TransmissionFlag.HAS_FLAGS | TransmissionFlag.READ_ONLY | TransmissionFlag.SEND_CACHE;
export const CONTEXT_ID = 1;

/** Turns of the event loop after which nothing more is expected to happen. */
const TURNS_MAX = 20_000;

export type ExportParts = ReturnType<typeof makeExport>;

/** What a client needs of an export. */
export type ClientParts = Pick<ExportParts, 'target' | 'buffers' | 'storage'> & {
  readonly lender: Lender | undefined;
};

export interface ClientOptions<Parts extends ClientParts = ExportParts> {
  readonly parts?: Parts | undefined;
  readonly isStructured?: boolean;
  readonly transmissionFlags?: number;
  readonly contextIds?: readonly number[];
  /** The client reads nothing until `readSome` or `isSlow = false`. */
  readonly isSlow?: boolean;
}

export class TestClient<Parts extends ClientParts = ExportParts> {
  readonly parts: Parts;
  readonly transmission: Transmission;
  readonly parser: ReplyParser;
  readonly statistics = new ServerStatistics();
  /** Why the server dropped the connection, and how often it said that all is answered. */
  failure: string | undefined;
  finishCount = 0;
  isSlow: boolean;
  /** Bytes on their way to the client now, and the most there have been. */
  bytesInFlight = 0;
  bytesInFlightMax = 0;
  readonly #writer: ReplyWriter;
  readonly #writes: { buffers: readonly Buffer[]; bytes: number; written: () => void }[] = [];
  readonly #unsent: Buffer[] = [];
  readonly #asked = new Map<bigint, Asked>();
  #takenCount = 0;
  #isPaused = false;
  #isWaking = false;
  #isGone = false;
  #nextCookie = 0xfedc_ba98_0000_0001n;

  constructor(options: ClientOptions<Parts> = {}) {
    const parts = options.parts ?? (makeExport() as unknown as Parts);
    const { isStructured = true, contextIds = isStructured ? [CONTEXT_ID] : [] } = options;
    this.parts = parts;
    this.isSlow = options.isSlow ?? false;
    this.parser = new ReplyParser({ isStructured, contextIds }, (cookie) =>
      this.#asked.get(cookie),
    );
    const sink = {
      write: (buffers: readonly Buffer[], written: () => void) => this.#take(buffers, written),
    };
    const { target, lender } = parts;
    this.#writer = new ReplyWriter(sink, new BufferShare(target.buffers), lender);
    this.#writer.onRoom = () => this.#wake();
    this.transmission = new Transmission({
      export: target,
      promises: {
        sizeBytes: target.sizeBytes,
        transmissionFlags: options.transmissionFlags ?? ALL_FLAGS,
        isStructured,
        hasMetaContext: contextIds.length > 0,
      },
      metaContextIds: contextIds,
      writer: this.#writer,
      statistics: this.statistics,
      host: {
        fail: (reason) => {
          this.failure = reason;
          // What a socket has not taken when it is destroyed never goes out.
          if (!this.isSlow) this.readSome(this.#writes.length);
          this.#isGone = true;
        },
        finish: () => {
          this.finishCount++;
        },
        wake: () => this.#wake(),
      },
      now: () => 0,
    });
  }

  get answers(): readonly Answer[] {
    return this.parser.answers;
  }

  /** The bytes of a request with a cookie of its own; the reply parser knows of it. */
  request(request: Omit<ClientRequest, 'cookie'>): Buffer {
    const cookie = this.#nextCookie++;
    this.know(cookie, request);
    return encodeRequest({ ...request, cookie });
  }

  /** Tells the reply parser of a request. */
  know(cookie: bigint, request: Omit<ClientRequest, 'cookie'>): void {
    const { command, flags = 0, payload } = request;
    const offset = Number(request.offset ?? 0);
    this.#asked.set(cookie, {
      command,
      flags,
      offset,
      length: request.length ?? payload?.length ?? 0,
    });
  }

  /** Sends bytes; they wait where the server takes none. */
  send(...chunks: readonly Buffer[]): void {
    this.#unsent.push(...chunks);
    this.#pump();
  }

  /** Sends requests, waits until all is quiet, and takes the answers, in the order of the requests. */
  async ask(...requests: readonly Omit<ClientRequest, 'cookie'>[]): Promise<Answer[]> {
    const first = this.#nextCookie;
    this.send(Buffer.concat(requests.map((each) => this.request(each))));
    await this.settle();
    return requests.map((_, i) => this.answerTo(first + BigInt(i)));
  }

  /** The answer to the request of that cookie; throws where there is none. */
  answerTo(cookie: bigint): Answer {
    const answer = this.answers.find((each) => each.cookie === cookie);
    if (answer === undefined) throw new Error(`no answer to ${cookie - 0xfedc_ba98_0000_0001n}`);
    return answer;
  }

  /** Takes the oldest writes that are on their way; answers how many there were. */
  readSome(count = 1): number {
    const taken = this.#writes.splice(0, count);
    for (const { buffers, bytes, written } of taken) {
      // A slow client sees what lies there now: nobody may have changed it since.
      if (!this.#isGone) this.parser.feed(Buffer.concat(buffers));
      this.bytesInFlight -= bytes;
      this.#takenCount++;
      written();
    }
    return taken.length;
  }

  /** Waits until nothing happens any more. */
  async settle(): Promise<void> {
    let idleTurns = 0;
    for (let turns = 0; idleTurns < 8; turns++) {
      if (turns > TURNS_MAX) throw new Error('it goes on and on');
      const before = this.#liveliness();
      await new Promise((resolve) => setImmediate(resolve));
      if (!this.isSlow) this.readSome(this.#writes.length);
      const isIdle = before === this.#liveliness() && (this.isSlow || this.#writes.length === 0);
      idleTurns = isIdle ? idleTurns + 1 : 0;
    }
  }

  /** Closes the client's side, and no more. */
  leave(): void {
    this.transmission.leave();
  }

  /** The connection is gone; writes under way end as failed ones do. */
  async close(): Promise<void> {
    this.#isGone = true;
    this.transmission.close();
    this.isSlow = false;
    await this.settle();
  }

  /** Whether the server takes bytes now. */
  get isPaused(): boolean {
    return this.#isPaused;
  }

  get unsentCount(): number {
    return this.#unsent.length;
  }

  #liveliness(): string {
    const { requests } = this.parts.storage;
    return [
      this.#takenCount,
      this.#writes.length,
      this.#unsent.length,
      this.answers.length,
      this.transmission.waitingCount,
      this.parts.buffers.lentBytes,
      this.#isWaking,
      this.finishCount,
      ...Object.values(requests),
    ].join();
  }

  #take(buffers: readonly Buffer[], written: () => void): void {
    if (this.finishCount > 0) throw new Error('a reply comes behind the end, and is lost');
    const bytes = buffers.reduce((sum, { length }) => sum + length, 0);
    this.#writes.push({ buffers, bytes, written });
    this.bytesInFlight += bytes;
    this.bytesInFlightMax = Math.max(this.bytesInFlightMax, this.bytesInFlight);
  }

  #pump(): void {
    while (!this.#isPaused) {
      const chunk = this.#unsent.shift();
      if (chunk === undefined) return;
      const received = Buffer.from(chunk);
      this.#isPaused = !this.transmission.receive(received);
      received.fill(0x25); // it is the socket's again, which reads the next bytes to where they lay
    }
  }

  #wake(): void {
    if (this.#isWaking) return;
    this.#isWaking = true;
    setImmediate(() => {
      this.#isWaking = false;
      this.#isPaused = !this.transmission.resume();
      this.#pump();
    });
  }
}
