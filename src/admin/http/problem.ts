/**
 * Refusals as problem documents.
 *
 * Source: RFC 9457, section 3; status codes after RFC 9110, section 15.
 */

import { type ErrorKind, TmemError } from '../../lib/errors.ts';

/** The media type of a problem document. */
export const PROBLEM_TYPE = 'application/problem+json';

const TITLES: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
  408: 'Request Timeout',
  409: 'Conflict',
  411: 'Length Required',
  413: 'Content Too Large',
  415: 'Unsupported Media Type',
  417: 'Expectation Failed',
  431: 'Request Header Fields Too Large',
  500: 'Internal Server Error',
  501: 'Not Implemented',
  503: 'Service Unavailable',
  504: 'Gateway Timeout',
  507: 'Insufficient Storage',
};

const STATUS_BY_KIND: Readonly<Record<ErrorKind, number>> = {
  usage: 400,
  'not-found': 404,
  permission: 403,
  busy: 409,
  invalid: 400,
  'read-only': 409,
  'no-space': 507,
  io: 500,
  unsupported: 501,
  shutdown: 503,
};

/** A request that is refused: its status, and one sentence on what to do. */
export class Problem extends Error {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** Members of the document beside the standard ones. */
  readonly members: Readonly<Record<string, unknown>>;

  constructor(
    status: number,
    detail: string,
    options: {
      readonly headers?: Readonly<Record<string, string>>;
      readonly members?: Readonly<Record<string, unknown>>;
    } = {},
  ) {
    super(detail);
    this.status = status;
    this.headers = options.headers ?? {};
    this.members = options.members ?? {};
  }

  /** What the status says, for every refusal of that status. */
  get title(): string {
    return TITLES[this.status] ?? 'Error';
  }

  /** The document, with a line end so that it can be read on a terminal. */
  get document(): string {
    const { title, status, message: detail, members } = this;
    return `${JSON.stringify({ title, status, detail, ...members })}\n`;
  }
}

/**
 * What a client is told of a failure. An operational failure says what it is; anything else is a
 * defect, of which a client learns nothing but that.
 */
export function problemOf(cause: unknown): Problem {
  if (cause instanceof Problem) return cause;
  if (cause instanceof TmemError) return new Problem(STATUS_BY_KIND[cause.kind], cause.message);
  return new Problem(500, 'the service made a mistake; its log says more');
}
