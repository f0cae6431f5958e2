/**
 * The API's description of itself, made of the table of routes: what is not in the table is not
 * served, and what is served is in the document.
 *
 * Source: OpenAPI Specification 3.1.1; its schemas are JSON Schema 2020-12.
 */

import { z } from 'zod';
import { PATH_PARAMETERS, POOL_KEY_HEADER, QUERY_PARAMETERS } from './http/parameters.ts';
import { PROBLEM_TYPE } from './http/problem.ts';
import type { BodyForm, Plane, Route } from './http/router.ts';
import { SCHEMAS } from './schemas.ts';

const REFERENCE = '#/components/schemas/';

const ABOUT = `Everything that a tmem service shows and lets be done.

**Control plane**: what there is, and what is to become of it. **Data plane**: pools of pages for
other programs, in the manner of transcendent memory: any put may be refused, and a page of an
ephemeral pool may vanish at any time. Whoever makes a pool is given its key; without it no page
of the pool can be read or written.

Whatever is refused is answered with a problem document (RFC 9457) whose detail says what to do.`;

const TAGS: Readonly<Record<Plane, string>> = { control: 'control plane', data: 'data plane' };

/** Problems that every route can have. */
const COMMON_PROBLEMS: Readonly<Record<number, string>> = {
  400: 'A name, a number or the body is not as it must be.',
  401: 'A token is configured, and this request has none or another.',
  403: 'The request comes from a web page, or its key is not the one of the pool.',
  408: 'The request did not come in time.',
  411: 'A body comes, or is missing, without a Content-Length.',
  417: 'The request expects something else than 100-continue.',
  431: 'The headers are too long.',
  500: 'A defect of the service, or a failure of its disk.',
  503: 'The service is stopping, or too many long calls or bodies are under way.',
};

/** Problems that every route with such a body can have. */
const BODY_PROBLEMS: Readonly<Record<number, string>> = { 413: 'The body is too long.' };
const JSON_PROBLEMS: Readonly<Record<number, string>> = {
  ...BODY_PROBLEMS,
  415: 'The body does not say that it is JSON.',
};

/** The routes, and one more that answers the document which describes them all. */
export function withDocument(routes: readonly Route[], about: ApiAbout): readonly Route[] {
  const all: Route[] = [...routes];
  let document: unknown;
  all.push({
    method: 'GET',
    path: '/openapi.json',
    operationId: 'getDocument',
    plane: 'control',
    summary: 'This document.',
    answer: { status: 200, says: 'An OpenAPI 3.1 document.', schema: 'Document' },
    handle: () => {
      document ??= describeApi(all, about);
      return { status: 200, json: document };
    },
  });
  return all;
}

/** What the document says beside the routes. */
interface ApiAbout {
  readonly version: string;
  /** Whether a token is configured. */
  readonly needsToken: boolean;
}

/** The document that describes `routes`, as an object to be sent as JSON. */
function describeApi(routes: readonly Route[], about: ApiAbout): unknown {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const route of routes) {
    paths[route.path] ??= {};
    const item = paths[route.path];
    if (item !== undefined) item[route.method.toLowerCase()] = operationOf(route, about.needsToken);
  }
  return {
    openapi: '3.1.1',
    info: {
      title: 'tmem',
      version: about.version,
      description: ABOUT,
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: '/' }],
    tags: Object.values(TAGS).map((name) => ({ name })),
    paths,
    components: {
      schemas: schemaDocuments(),
      securitySchemes: {
        token: { type: 'http', scheme: 'bearer', description: 'Where one is configured.' },
        poolKey: { type: 'apiKey', in: 'header', name: POOL_KEY_HEADER },
      },
    },
  };
}

function operationOf(route: Route, needsToken: boolean): unknown {
  const { operationId, summary, description, plane, poolKey, body, answer } = route;
  const problems = { ...COMMON_PROBLEMS, ...problemsOf(body), ...route.problems };
  return {
    operationId,
    summary,
    ...(description === undefined ? {} : { description }),
    tags: [TAGS[plane]],
    security: securityOf(poolKey, needsToken),
    parameters: parametersOf(route),
    ...(body === undefined ? {} : { requestBody: requestBodyOf(body) }),
    responses: {
      [answer.status]: { description: answer.says, content: contentOf(answer) },
      ...Object.fromEntries(
        Object.entries(problems).map(([status, when]) => [
          status,
          {
            description: when,
            content: { [PROBLEM_TYPE]: { schema: { $ref: `${REFERENCE}Problem` } } },
          },
        ]),
      ),
    },
  };
}

function problemsOf(body: BodyForm | undefined): Readonly<Record<number, string>> {
  if (body === undefined) return {};
  return 'schema' in body ? JSON_PROBLEMS : BODY_PROBLEMS;
}

function securityOf(poolKey: Route['poolKey'], needsToken: boolean): unknown {
  const token = needsToken ? { token: [] } : {};
  const withKey = { ...token, poolKey: [] };
  if (poolKey === undefined) return [token];
  return poolKey === 'required' ? [withKey] : [withKey, token];
}

function parametersOf({ path, query = [], headers = {} }: Route): unknown[] {
  const names = [...path.matchAll(/\{(\w+)\}/g)].map(([, name = '']) => name);
  const parameter = (place: string, name: string, isRequired: boolean): unknown => {
    const known = place === 'path' ? PATH_PARAMETERS[name] : QUERY_PARAMETERS[name];
    const { description, schema } = known ?? {};
    return { name, in: place, required: isRequired, description, schema };
  };
  return [
    ...names.map((name) => parameter('path', name, true)),
    ...query.map((name) => parameter('query', name, false)),
    ...Object.entries(headers).map(([name, description]) => ({
      name,
      in: 'header',
      required: false,
      description,
      schema: { type: 'string' },
    })),
  ];
}

function requestBodyOf(body: BodyForm): unknown {
  const isOptional = 'schema' in body && body.isOptional === true;
  return { required: !isOptional, content: contentOf(body) };
}

function contentOf(form: BodyForm): unknown {
  if ('schema' in form) {
    return { 'application/json': { schema: { $ref: `${REFERENCE}${form.schema}` } } };
  }
  return { 'application/octet-stream': { schema: { description: form.bytes } } };
}

/** The schemas by name, as JSON Schema; where one holds another it refers to it. */
function schemaDocuments(): Record<string, unknown> {
  const registry = z.registry<{ id: string }>();
  for (const [id, schema] of Object.entries(SCHEMAS)) registry.add(schema, { id });
  const { schemas } = z.toJSONSchema(registry, { uri: (id) => `${REFERENCE}${id}`, io: 'input' });
  const documents: Record<string, unknown> = {};
  for (const [id, { $schema, $id, ...document }] of Object.entries(schemas)) {
    documents[id] = document;
  }
  return documents;
}
