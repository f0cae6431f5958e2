/** Which request is served by which route; the table of routes is what the API's document shows. */

import type { Call } from './call.ts';
import { readParameters } from './parameters.ts';
import { Problem } from './problem.ts';

type AnswerHeaders = Readonly<Record<string, string>>;

/** What a route answers. */
export type Answer =
  | { readonly status: number; readonly json: unknown; readonly headers?: AnswerHeaders }
  | { readonly status: number; readonly bytes: Buffer; readonly headers?: AnswerHeaders };

/** The answer of what went well. */
export function ok(json: unknown): Answer {
  return { status: 200, json };
}

/** Whether a route is for those who run the service or for programs that keep pages in it. */
export type Plane = 'control' | 'data';

/** The body of a request: JSON by the name of its schema, or bytes in some form. */
export type BodyForm =
  | { readonly schema: string; readonly isOptional?: boolean }
  | { readonly bytes: string };

/** One operation of the API, with what its document says of it. */
export interface Route {
  readonly method: 'GET' | 'PUT' | 'POST' | 'DELETE';
  /** `/v1/pools/{id}`: a name in braces stands for one segment, percent-encoded. */
  readonly path: string;
  readonly operationId: string;
  readonly plane: Plane;
  /** Whether the key of the pool must be shown, or makes a difference. */
  readonly poolKey?: 'required' | 'optional';
  readonly summary: string;
  readonly description?: string;
  /** Names of query parameters; see `parameters.ts`. */
  readonly query?: readonly string[];
  /** Request headers that it reads, by name. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Without it a body is refused. */
  readonly body?: BodyForm;
  readonly answer: { readonly status: number; readonly says: string } & BodyForm;
  /** Problems of this route beside those that every route can have: status, and when. */
  readonly problems?: Readonly<Record<number, string>>;
  readonly handle: (call: Call) => Answer | Promise<Answer>;
}

export class Router {
  readonly #routes: readonly (readonly [Route, segments: readonly string[]])[];

  constructor(routes: readonly Route[]) {
    this.#routes = routes.map((route) => [route, route.path.split('/')]);
  }

  /** The route of a request. Throws a Problem for an unknown path, and for a wrong method. */
  find(method: string, path: string): Route {
    const given = path.split('/');
    const allowed: string[] = [];
    for (const [route, segments] of this.#routes) {
      if (!matches(segments, given)) continue;
      const methods = methodsOf(route);
      if (methods.includes(method)) return route;
      allowed.push(...methods);
    }
    const shown = path.slice(0, 200);
    if (allowed.length === 0) {
      throw new Problem(404, `there is no ${shown} here; / and /openapi.json list what there is`);
    }
    const allow = allowed.join(', ');
    throw new Problem(405, `${shown} takes ${allow}, not ${method}`, { headers: { allow } });
  }

  /** The values of the names in a path of that route. Throws a Problem for what is none. */
  parametersOf(route: Route, path: string): ReadonlyMap<string, string | number> {
    return readParameters(route.path.split('/'), path.split('/'));
  }
}

/** A GET of the data plane may take a page out, so that there is no HEAD for it. */
function methodsOf({ method, plane }: Route): readonly string[] {
  return method === 'GET' && plane === 'control' ? ['GET', 'HEAD'] : [method];
}

function matches(segments: readonly string[], given: readonly string[]): boolean {
  if (segments.length !== given.length) return false;
  return segments.every((segment, i) => segment.startsWith('{') || segment === given[i]);
}
