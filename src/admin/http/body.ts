/**
 * Bodies of requests, read whole and within bounds: no length that a client claims makes the
 * service hold more than it has set aside for this.
 */

import type { IncomingMessage } from 'node:http';
import { Problem } from './problem.ts';

/** Bytes that all bodies under way may come to; reserved before they are read or made. */
export class BodyBudget {
  readonly limitBytes: number;
  #usedBytes = 0;

  constructor(limitBytes: number) {
    this.limitBytes = limitBytes;
  }

  get usedBytes(): number {
    return this.#usedBytes;
  }

  /** Sets bytes aside; throws a Problem when there are not so many left. */
  take(bytes: number): void {
    if (bytes > this.limitBytes) {
      throw new Problem(
        413,
        `this service has buffers for requests of ${this.limitBytes} bytes; send or ask for less at a ` +
          'time, or start it with more --memory',
      );
    }
    if (this.#usedBytes + bytes > this.limitBytes) {
      throw new Problem(503, 'too many long requests are under way; try again', {
        headers: { 'retry-after': '1' },
      });
    }
    this.#usedBytes += bytes;
  }

  give(bytes: number): void {
    this.#usedBytes -= bytes;
  }
}

/**
 * The length of the body that the client announces; 0 for none, which a body that `isNeeded` must
 * say too. Throws a Problem.
 */
export function announcedLength({ headers }: IncomingMessage, isNeeded = false): number {
  const length = headers['content-length'];
  if (headers['transfer-encoding'] !== undefined || (isNeeded && length === undefined)) {
    throw new Problem(411, 'a body must have a known length; send it with Content-Length');
  }
  return Number(length ?? 0);
}

/**
 * Reads a body of exactly `length` bytes into a buffer of its own. Rejects with a Problem when the
 * client goes away or takes too long; the server's own timeouts see to that.
 */
export async function readBody(request: IncomingMessage, length: number): Promise<Buffer> {
  const body = Buffer.allocUnsafe(length);
  let at = 0;
  try {
    for await (const piece of request as AsyncIterable<Buffer>) at += piece.copy(body, at);
  } catch {
    throw new Problem(400, 'the body ended early; send it again');
  }
  if (at !== length) throw new Problem(400, 'the body is shorter than announced; send it again');
  return body;
}
