/** Which request is served by which route; the table of routes is what the API's document shows. */

import type { Call } from './call.ts';
import { readParameters } from './parameters.ts';
import { Problem } from './problem.ts';

export type Method = 'GET' | 'PUT' | 'POST' | 'DELETE';

/** What a route answers. */
export type Answer =
  | { readonly status: number; readonly json: unknown; readonly headers?: AnswerHeaders }
  | { readonly status: number; readonly bytes: Buffer; readonly headers?: AnswerHeaders }
  | { readonly status: 204; readonly headers?: AnswerHeaders };

type AnswerHeaders = Readonly<Record<string, string>>;

/** One operation of the API, with what its document says of it. */
export interface Route {
  readonly method: Method;
  /** `/v1/pools/{id}`: a name in braces stands for one segment, percent-encoded. */
  readonly path: string;
  readonly operationId: string;
  readonly summary: string;
  readonly description?: string;
  /** Names of query parameters; see `parameters.ts`. */
  readonly query?: readonly string[];
  /** Names of request headers that are keys; see `openapi.ts`. */
  readonly keys?: readonly string[];
  /** The schema of a JSON body, by name, or a body of bytes. Without it a body is refused. */
  readonly body?: { readonly schema: string } | { readonly bytes: string };
  /** What a success answers: JSON by the schema's name, bytes, or nothing. */
  readonly answer: {
    readonly status: number;
    readonly says: string;
    readonly schema?: string;
    readonly bytes?: string;
  };
  /** Problems this route has, beside those that every route can have. */
  readonly problems?: Readonly<Record<number, string>>;
  /** Whether each call is noted in the log. */
  readonly isAudited?: boolean;
  readonly handle: (call: Call) => Answer | Promise<Answer>;
}

/** A route that was found, and the values of the names in its path. */
export interface Found {
  readonly route: Route;
  readonly parameters: ReadonlyMap<string, string | number>;
}

export class Router {
  readonly routes: readonly Route[];
  readonly #segments: readonly (readonly string[])[];

  constructor(routes: readonly Route[]) {
    this.routes = routes;
    this.#segments = routes.map(({ path }) => path.split('/'));
  }

  /** The route of a request. Throws a Problem for an unknown path, a wrong method, a bad name. */
  find(method: string, path: string): Found {
    const given = path.split('/');
    const allowed: string[] = [];
    for (const [i, route] of this.routes.entries()) {
      const segments = this.#segments[i] ?? [];
      if (!matches(segments, given)) continue;
      if (route.method === method) return { route, parameters: readParameters(segments, given) };
      allowed.push(route.method);
    }
    if (allowed.length === 0) {
      throw new Problem(404, `there is no ${path.slice(0, 200)} here; /openapi.json lists what is`);
    }
    const allow = allowed.join(', ');
    throw new Problem(405, `${path.slice(0, 200)} takes ${allow}, not ${method}`, {
      headers: { allow },
    });
  }
}

function matches(segments: readonly string[], given: readonly string[]): boolean {
  if (segments.length !== given.length) return false;
  return segments.every((segment, i) => segment.startsWith('{') || segment === given[i]);
}
