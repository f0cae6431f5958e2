/** The API's document as a test holds answers against it. */

import { z } from 'zod';

type Json = Readonly<Record<string, unknown>>;

interface Operation {
  readonly operationId: string;
  readonly security: readonly Json[];
  readonly parameters: readonly { readonly name: string; readonly in: string }[];
  readonly requestBody?: { readonly content: Readonly<Record<string, unknown>> };
  readonly responses: Readonly<
    Record<string, { readonly content: Readonly<Record<string, Json>> }>
  >;
}

interface Document {
  readonly openapi: string;
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, Json>> };
}

export interface AnswerToCheck {
  readonly status: number;
  readonly type: string;
  readonly json: unknown;
}

export class ApiDocument {
  readonly document: Document;
  readonly #schemas = new Map<string, z.ZodType>();

  constructor(document: unknown) {
    this.document = document as Document;
  }

  /** `GET /v1/status` and so on, in order. */
  get operations(): string[] {
    const { paths } = this.document;
    return Object.entries(paths).flatMap(([path, item]) =>
      Object.keys(item).map((method) => `${method.toUpperCase()} ${path}`),
    );
  }

  /** The operation of a request; undefined when the document has none. */
  operationOf(method: string, path: string): Operation | undefined {
    const { paths } = this.document;
    const name = method === 'HEAD' ? 'get' : method.toLowerCase();
    for (const [template, item] of Object.entries(paths)) {
      const shape = template.replaceAll(/[.]/g, '\\.').replaceAll(/\{\w+\}/g, '[^/]+');
      if (new RegExp(`^${shape}$`).test(path) && item[name] !== undefined) return item[name];
    }
    return undefined;
  }

  /** Throws when the document does not allow that answer to that request. */
  check(method: string, path: string, answer: AnswerToCheck): void {
    const operation = this.operationOf(method, path);
    const what = `${method} ${path} answered ${answer.status}`;
    if (operation === undefined) {
      if (answer.status !== 404 && answer.status !== 405) throw new Error(`${what}: not described`);
      this.#schema('Problem').parse(answer.json);
      return;
    }
    const response = operation.responses[answer.status];
    if (response === undefined) throw new Error(`${what}: no such status`);
    const form = response.content[answer.type];
    if (form === undefined) throw new Error(`${what}: no ${answer.type}`);
    const reference = (form.schema as { $ref?: string }).$ref;
    if (reference === undefined) return; // bytes
    const result = this.#schema(reference.split('/').at(-1) ?? '').safeParse(answer.json);
    if (!result.success) throw new Error(`${what}: ${result.error.message}`);
  }

  #schema(name: string): z.ZodType {
    let schema = this.#schemas.get(name);
    if (schema === undefined) {
      const definitions = JSON.stringify(this.document.components.schemas);
      const local = definitions.replaceAll('#/components/schemas/', '#/$defs/');
      schema = z.fromJSONSchema({ $ref: `#/$defs/${name}`, $defs: JSON.parse(local) });
      this.#schemas.set(name, schema);
    }
    return schema;
  }
}
