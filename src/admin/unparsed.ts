/** Requests that cannot be read as HTTP/1.1, or did not come in time: nobody gets to route them. */

import type { ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { PROBLEM_TYPE, Problem } from './problem.ts';

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
  const { status, title, document } = problemOf(cause.code);
  const head = [
    `HTTP/1.1 ${status} ${title}`,
    `content-type: ${PROBLEM_TYPE}`,
    `content-length: ${Buffer.byteLength(document)}`,
    'connection: close',
  ];
  socket.end(`${head.join('\r\n')}\r\n\r\n${document}`, () => socket.destroy());
}

function problemOf(code: string | undefined): Problem {
  if (code === 'HPE_HEADER_OVERFLOW') {
    return new Problem(431, 'the headers are longer than 8 KiB; send fewer or shorter ones');
  }
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') {
    return new Problem(408, 'the request did not come in time; send it whole, without pauses');
  }
  return new Problem(400, 'this is no request of HTTP/1.1; see RFC 9112 for what one looks like');
}
