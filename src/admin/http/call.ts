/** One request as its handler sees it: names that are valid already, and a body within bounds. */

import type { IncomingMessage, ServerResponse } from 'node:http';
import type { z } from 'zod';
import { announcedLength, type BodyBudget, readBody } from './body.ts';
import type { LongCalls } from './long-calls.ts';
import { Problem } from './problem.ts';

/** The longest JSON body, bytes. */
const JSON_BYTES_MAX = 16 * 1024;

export interface CallParts {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly parameters: ReadonlyMap<string, string | number>;
  readonly query: ReadonlyMap<string, string | number>;
  readonly budget: BodyBudget;
  readonly longCalls: LongCalls;
}

export class Call {
  readonly #parts: CallParts;
  #heldBytes = 0;
  #isReleased = false;

  constructor(parts: CallParts) {
    this.#parts = parts;
  }

  /** The value of a path parameter that is a number. */
  number(name: string): number {
    return Number(this.#parts.parameters.get(name));
  }

  /** The value of a path parameter that is a name. */
  text(name: string): string {
    return String(this.#parts.parameters.get(name));
  }

  /** The value of a query parameter, if it was given. */
  query(name: string): string | number | undefined {
    return this.#parts.query.get(name);
  }

  /** The value of a header, if it was sent. */
  header(name: string): string | undefined {
    const value = this.#parts.request.headers[name];
    return typeof value === 'string' ? value : undefined;
  }

  /** Bytes of a body that may be left out. Throws a Problem for one of unknown length. */
  get #bodyBytes(): number {
    return announcedLength(this.#parts.request);
  }

  /** Bytes of a body that there has to be. Throws a Problem when the client announces none. */
  get neededBytes(): number {
    return announcedLength(this.#parts.request, true);
  }

  /** Sets bytes aside for this call until it is answered. Throws a Problem, also once it has ended. */
  reserve(bytes: number): void {
    // Nobody would give back what is taken behind the end.
    if (this.#isReleased) throw new Problem(400, 'the client hung up; ask again');
    this.#parts.budget.take(bytes);
    this.#heldBytes += bytes;
  }

  /** Gives back what was reserved; for the server, when the answer is out. */
  release(): void {
    this.#parts.budget.give(this.#heldBytes);
    this.#heldBytes = 0;
    this.#isReleased = true;
  }

  /** Throws a Problem when there is a body, which nobody would read. */
  refuseBody(): void {
    if (this.#bodyBytes > 0) throw new Problem(400, 'this takes no body; send it without one');
  }

  /** Reads the body, which may have at most `bytesMax` bytes. Rejects with a Problem. */
  async bytes(bytesMax: number): Promise<Buffer> {
    const { request, response } = this.#parts;
    const length = this.neededBytes;
    if (length > bytesMax) {
      throw new Problem(413, `the body has ${length} bytes; send at most ${bytesMax}`);
    }
    this.reserve(length);
    if (request.headers.expect !== undefined) response.writeContinue();
    return readBody(request, length);
  }

  /** Reads a JSON body and checks it. Rejects with a Problem that names what is wrong. */
  async json<Value>(schema: z.ZodType<Value>): Promise<Value> {
    const type = this.header('content-type') ?? '';
    if (!/^application\/json\s*(;|$)/i.test(type)) {
      throw new Problem(415, 'the body must be JSON; send Content-Type: application/json');
    }
    const result = schema.safeParse(parse(await this.bytes(JSON_BYTES_MAX)));
    if (result.success) return result.data;
    const [issue] = result.error.issues;
    const place = issue === undefined || issue.path.length === 0 ? '' : `${issue.path.join('.')}: `;
    throw new Problem(400, `the body is not as it must be: ${place}${issue?.message ?? ''}`);
  }

  /** The same where the body may be left out, which then stands for an empty object. */
  async optionalJson<Value>(schema: z.ZodType<Value>): Promise<Value> {
    return this.#bodyBytes === 0 ? schema.parse({}) : this.json(schema);
  }

  /**
   * Does what may take long; its signal is aborted when the client hangs up, and after `msMax` where
   * that is given. Rejects with a Problem while too many others do such.
   */
  takeLong<Result>(
    work: (signal: AbortSignal) => Promise<Result>,
    msMax?: number,
  ): Promise<Result> {
    const { request, response, longCalls } = this.#parts;
    return longCalls.run(async () => {
      const { socket } = request;
      const { timeout = 0 } = socket;
      socket.setTimeout(0); // it is for clients that are silent, not for us
      const controller = new AbortController();
      const abort = (): void => controller.abort();
      if (response.destroyed) abort();
      response.once('close', abort);
      // Not a signal with a timeout of its own: those pile up until the collector finds them.
      const timer = msMax === undefined ? undefined : setTimeout(abort, msMax);
      try {
        return await work(controller.signal);
      } finally {
        clearTimeout(timer);
        socket.setTimeout(timeout); // who takes no answer is silent again
        response.off('close', abort);
      }
    });
  }
}

function parse(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8'));
  } catch {
    throw new Problem(400, 'the body is not JSON; send one object');
  }
}
