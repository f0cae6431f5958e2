/** Requests that are not as HTTP/1.1 has them, or did not come in time: nobody gets to route them. */

import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { PROBLEM_TYPE, Problem } from './problem.ts';

/** Whether it is of what a client sent, rather than of its connection. */
export function isUnread({ code = '' }: Error & { readonly code?: string }): boolean {
  return code.startsWith('HPE_') || code === TIMED_OUT;
}

/** Of a request that did not come in time, Node's own code. */
const TIMED_OUT = 'ERR_HTTP_REQUEST_TIMEOUT';

/** A request of which nothing more comes. */
export class LateRequest extends Error {
  readonly code = TIMED_OUT;
}

const NO_PROXY = 'this is no proxy; GET / lists what can be asked of it';

/**
 * Answers what the parser refused, and hangs up: what follows has no known beginning. `answering` is
 * the answer that is under way on the socket, if one is; a half of one is not followed by another.
 */
export function refuseUnparsed(
  cause: Error & { readonly code?: string },
  socket: Duplex,
  answering: ServerResponse | undefined,
): void {
  if (!socket.writable || cause.code === 'ECONNRESET' || answering?.headersSent === true) {
    socket.destroy();
    return;
  }
  refuseOn(socket, problemOf(cause.code));
}

/** Answers who takes this for a proxy, and hangs up: what follows would not be a request. */
export function refuseConnect(socket: Duplex, answering: ServerResponse | undefined): void {
  socket.on('error', () => undefined); // the server listens no more
  if (answering !== undefined) {
    socket.destroy();
    return;
  }
  refuseOn(socket, new Problem(405, NO_PROXY, { headers: { allow: 'GET, HEAD' } }));
}

/** Throws a Problem for a request that is whole, but lacks or has what RFC 9110 does not allow. */
export function checkHead({ httpVersion, headersDistinct, headers }: IncomingMessage): void {
  const hostCount = headersDistinct.host?.length ?? 0;
  if (hostCount > 1 || (hostCount === 0 && httpVersion === '1.1')) {
    throw new Problem(400, `the request has ${hostCount} Host headers; send one`);
  }
  if (headers.expect !== undefined && headers.expect.toLowerCase() !== '100-continue') {
    throw new Problem(417, 'nothing but 100-continue can be expected here; send no other Expect');
  }
}

function refuseOn(socket: Duplex, { status, title, document, headers }: Problem): void {
  const head = [
    `HTTP/1.1 ${status} ${title}`,
    `content-type: ${PROBLEM_TYPE}`,
    `content-length: ${Buffer.byteLength(document)}`,
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
    'connection: close',
  ];
  socket.end(`${head.join('\r\n')}\r\n\r\n${document}`, () => socket.destroy());
}

function problemOf(code: string | undefined): Problem {
  if (code === 'HPE_HEADER_OVERFLOW') {
    return new Problem(431, 'the headers are longer than 16 KiB; send fewer or shorter ones');
  }
  if (code === TIMED_OUT) {
    return new Problem(408, 'the request did not come in time; send it whole, without pauses');
  }
  return new Problem(400, 'this is no request of HTTP/1.1; see RFC 9112 for what one looks like');
}
