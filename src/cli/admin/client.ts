/**
 * Asks a running service through its administrative API: HTTP over TCP or a Unix socket, JSON both
 * ways, failures as application/problem+json (RFC 9457). Every answer is bounded in size and time.
 */

import type { IncomingMessage } from 'node:http';
import type { Schema } from '../../admin/schemas.ts';
import { type ErrorKind, systemErrorCode, TmemError } from '../../lib/errors.ts';
import { formatHostAndPort, type TcpAddress, type UnixAddress } from '../../lib/listen-address.ts';
import { printable } from '../terminal/table.ts';

/** Far longer than a service that is alive takes, short enough for a person who waits. */
const ANSWER_MS_MAX = 10_000;
/** A status has a few hundred bytes for each export and pool. */
const ANSWER_BYTES_MAX = 16 * 1024 * 1024;
/** What is shown of a problem's detail; the services of this project say less. */
const DETAIL_LENGTH_MAX = 500;

/** Some answers are known only when much memory has been gone through or written, milliseconds. */
export const LONG_MS_MAX = 600_000;

export type AdminMethod = 'GET' | 'POST' | 'PUT' | 'DELETE';

export interface AskOptions {
  /** Sent as JSON. */
  readonly body?: object;
  /** The question is given up when it is aborted; the promise then rejects with a TmemError. */
  readonly signal?: AbortSignal;
  /** How long the answer may take altogether; 10 s unless told. */
  readonly timeoutMs?: number;
}

/** Asks the service; what every command about a running service is given. */
export interface AdminClient {
  /** Where the service is, as a user writes it. */
  readonly place: string;
  /**
   * Asks, and answers what came back, which fits the schema. Rejects with a TmemError: the service's
   * own words where it has some, else a sentence on how to reach it.
   */
  ask<Answer>(
    method: AdminMethod,
    path: string,
    schema: Schema<Answer>,
    options?: AskOptions,
  ): Promise<Answer>;
}

/**
 * A client of the service whose admin address was given by `option`; `token` is for one that demands it.
 */
export class HttpAdminClient implements AdminClient {
  readonly place: string;
  readonly #address: UnixAddress | TcpAddress;
  readonly #token: string | undefined;
  readonly #option: string;

  constructor(address: UnixAddress | TcpAddress, token?: string, option = '--admin') {
    this.#address = address;
    this.#token = token;
    this.#option = option;
    this.place =
      address.kind === 'unix'
        ? `unix:${address.path}`
        : formatHostAndPort(address.host, address.port);
  }

  async ask<Answer>(
    method: AdminMethod,
    path: string,
    schema: Schema<Answer>,
    options: AskOptions = {},
  ): Promise<Answer> {
    const exchange = await this.#exchange(method, path, options);
    const { status, type, text } = exchange;
    const isJson = /^application\/(?:problem\+)?json\b/i.test(type);
    const content = isJson ? parsed(text) : undefined;
    if (status >= 400) throw this.#refusal(status, content);
    if (status < 200 || status >= 300 || !fits(schema, content)) {
      throw this.#stranger();
    }
    return content;
  }

  async #exchange(method: AdminMethod, path: string, options: AskOptions): Promise<Exchange> {
    // Many commands know of this client, and most calls of them ask nothing.
    const { request } = await import('node:http');
    const body = options.body === undefined ? undefined : JSON.stringify(options.body);
    const timeoutMs = options.timeoutMs ?? ANSWER_MS_MAX;
    return new Promise((resolve, reject) => {
      const sent = request({
        ...(this.#address.kind === 'unix'
          ? { socketPath: this.#address.path, host: 'localhost' }
          : { host: this.#address.host, port: this.#address.port }),
        method,
        path,
        // A connection for each question: a service restarted in between is no special case.
        agent: false,
        headers: this.#headers(body),
        ...(options.signal === undefined ? {} : { signal: options.signal }),
      });
      const fail = (cause: Error): void => {
        clearTimeout(timer);
        reject(this.#unreachable(cause, timeoutMs));
        sent.destroy();
      };
      const timer = setTimeout(() => fail(new LateError()), timeoutMs);
      sent.on('error', fail);
      sent.once('response', (response) => {
        readAnswer(response, fail, (exchange) => {
          clearTimeout(timer);
          resolve(exchange);
        });
      });
      sent.end(body);
    });
  }

  #headers(body: string | undefined): Record<string, string> {
    return {
      accept: 'application/json, application/problem+json',
      ...(this.#token === undefined ? {} : { authorization: `Bearer ${this.#token}` }),
      ...(body === undefined
        ? {}
        : { 'content-type': 'application/json', 'content-length': `${Buffer.byteLength(body)}` }),
    };
  }

  #error(kind: ErrorKind, sentence: string, cause?: unknown): TmemError {
    return new TmemError(kind, sentence, { context: { address: this.place }, cause });
  }

  #unreachable(cause: Error, timeoutMs: number): TmemError {
    if (cause instanceof LateError) {
      const seconds = timeoutMs / 1000;
      const sentence = `the service at ${this.place} has not answered within ${seconds} s`;
      return this.#error('io', `${sentence}; see whether it is busy or stopped`, cause);
    }
    const code = systemErrorCode(cause) ?? '';
    if (code.startsWith('HPE_')) return this.#stranger();
    const [kind, advice] = UNREACHABLE_BY_CODE[code] ?? ['io', cause.message];
    const sentence = `cannot reach a tmem service at ${this.place}: ${advice}`;
    return this.#error(kind, sentence.replace('…', `${NAME_IT} ${this.#option}`), cause);
  }

  #refusal(status: number, content: unknown): TmemError {
    if (status === 401) {
      const what = this.#token === undefined ? 'asks for a token' : 'does not know this token';
      const sentence = `the service at ${this.place} ${what}`;
      return this.#error('permission', `${sentence}; give it in --token-file or TMEM_TOKEN`);
    }
    const detail = detailOf(content);
    if (detail === undefined) {
      return status === 404 ? this.#stranger() : this.#error('io', this.#unexplained(status));
    }
    const context = { address: this.place, httpStatus: status, ...numbersOf(content) };
    return new TmemError(kindOfStatus(status), detail, { context });
  }

  #unexplained(status: number): string {
    return `the service at ${this.place} failed with HTTP status ${status}; see what it logged`;
  }

  #stranger(): TmemError {
    const sentence = `what answers at ${this.place} is not the admin API of this version of tmem`;
    const advice = `name the right address with ${this.#option}, or use the tmem it was started with`;
    return this.#error('unsupported', `${sentence}; ${advice}`);
  }
}

interface Exchange {
  readonly status: number;
  readonly type: string;
  readonly text: string;
}

/** The answer did not come in time. */
class LateError extends Error {}

const START = 'start it with tmem serve';
const NAME_IT = 'name its address with';
const HUNG_UP = 'it hung up; it is not running any more, or has too many connections: try again';

/** Why the service was not reached, and what to do; `…` stands for naming another. */
const UNREACHABLE_BY_CODE: Readonly<Record<string, readonly [ErrorKind, string]>> = {
  ECONNREFUSED: ['io', `nothing listens there; ${START}, or …`],
  ENOENT: ['io', `there is no such socket; ${START}, or …`],
  ENOTSOCK: ['usage', `that file is no socket; ${START}, or …`],
  ECONNRESET: ['io', HUNG_UP],
  EPIPE: ['io', HUNG_UP],
  EACCES: ['permission', 'the system does not allow it; ask as the user that runs it'],
  ENOTFOUND: ['usage', 'the host is unknown; …'],
  EAI_AGAIN: ['io', 'the host could not be looked up; …'],
  ABORT_ERR: ['shutdown', 'the question was given up'],
};

/** Collects the answer, up to the bound. */
function readAnswer(
  response: IncomingMessage,
  fail: (cause: Error) => void,
  done: (exchange: Exchange) => void,
): void {
  const pieces: Buffer[] = [];
  let length = 0;
  response.on('data', (piece: Buffer) => {
    length += piece.length;
    if (length <= ANSWER_BYTES_MAX) pieces.push(piece);
    else fail(new Error(`its answer has more than ${ANSWER_BYTES_MAX} bytes`));
  });
  response.on('error', fail);
  response.on('end', () => {
    const { statusCode: status = 0, headers } = response;
    const text = Buffer.concat(pieces).toString('utf8');
    done({ status, type: headers['content-type'] ?? '', text });
  });
}

/** The JSON value of `text`, undefined when it is none. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** The sentence of a problem document, as one line without control characters. */
function detailOf(content: unknown): string | undefined {
  if (typeof content !== 'object' || content === null) return undefined;
  const { detail, title } = content as { detail?: unknown; title?: unknown };
  const text = typeof detail === 'string' && detail !== '' ? detail : title;
  if (typeof text !== 'string' || text === '') return undefined;
  const line = printable(text.replaceAll(/\s+/g, ' ').trim());
  return line.slice(0, DETAIL_LENGTH_MAX).replace(/\.$/, '');
}

/** The members of a problem document that are numbers: what it says beside its sentence. */
function numbersOf(content: unknown): Record<string, number> {
  const members = Object.entries(content ?? {});
  return Object.fromEntries(members.filter((entry) => typeof entry[1] === 'number'));
}

const KIND_BY_STATUS: Readonly<Record<number, ErrorKind>> = {
  403: 'permission',
  404: 'not-found',
  409: 'busy',
  501: 'unsupported',
  503: 'shutdown',
  507: 'no-space',
};

function kindOfStatus(status: number): ErrorKind {
  return KIND_BY_STATUS[status] ?? (status >= 500 ? 'io' : 'invalid');
}

/**
 * Whether an answer has what the schema says. A service of another version, or another program that
 * speaks HTTP, may answer anything; one that says more, or larger numbers, is understood all the same.
 */
function fits<Answer>(schema: Schema<Answer>, content: unknown): content is Answer {
  const { error } = schema.safeParse(content);
  return !error?.issues.some(({ code }) => code === 'invalid_type' || code === 'invalid_value');
}
