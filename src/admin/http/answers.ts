/** Answers on their way out. */

import type { IncomingMessage, ServerResponse } from 'node:http';
import { PROBLEM_TYPE, type Problem } from './problem.ts';
import type { Answer } from './router.ts';

/** What a client sends behind a refusal is read and dropped up to here, so that it hears of it. */
const DROPPED_BYTES_MAX = 16 * 1024 * 1024;

const TEXT = 'text/plain; charset=utf-8';

/** The answer of a path that is no route of the API. */
export interface Plain {
  readonly status: number;
  readonly body: string;
  /** Its media type; default that of plain text. */
  readonly type?: string;
}

/** Headers of every answer: none is to be kept, and none is what it does not say it is. */
const COMMON = { 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' } as const;

/** Answers with a text. */
export function sendPlain(response: ServerResponse, { status, body, type = TEXT }: Plain): void {
  response.writeHead(status, {
    'content-type': type,
    'content-length': Buffer.byteLength(body),
    ...COMMON,
  });
  response.end(body); // a HEAD request gets no body: the response knows
}

/** Answers what a route answered, unless the client has gone. */
export function sendAnswer(response: ServerResponse, answer: Answer): void {
  if (response.destroyed) return;
  const headers = { ...COMMON, ...answer.headers };
  const isJson = 'json' in answer;
  const body = isJson ? Buffer.from(`${JSON.stringify(answer.json)}\n`) : answer.bytes;
  response.writeHead(answer.status, {
    'content-type': isJson ? 'application/json' : 'application/octet-stream',
    'content-length': body.length,
    ...headers,
  });
  response.end(body);
}

/**
 * Answers a refusal. What the client is still sending is read and dropped, so that it hears of it; where
 * that would be long, or it waits to be told to go on, the connection ends.
 */
export function sendProblem(
  request: IncomingMessage,
  response: ServerResponse,
  problem: Problem,
): void {
  if (response.destroyed || response.headersSent) {
    response.destroy();
    return;
  }
  const { headers } = request;
  const rest = Number(headers['content-length'] ?? 0);
  const isLong = rest > DROPPED_BYTES_MAX || headers['transfer-encoding'] !== undefined;
  const endsNow = isLong || headers.expect !== undefined;
  response.writeHead(problem.status, {
    'content-type': PROBLEM_TYPE,
    'content-length': Buffer.byteLength(problem.document),
    ...COMMON,
    ...problem.headers,
    ...(endsNow ? { connection: 'close' } : {}),
  });
  if (endsNow || request.complete) {
    response.end(problem.document);
    return;
  }
  response.write(problem.document);
  // Who wants the connection closed would be reset in the middle of its body, and not hear of this.
  request.once('close', () => response.end()).resume();
}
