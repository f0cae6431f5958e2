/** An admin listener that answers as a test tells it to, and remembers what it was asked. */

import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';

export interface Question {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  /** What was sent as JSON, undefined for nothing. */
  readonly body: unknown;
}

export interface ScriptedAnswer {
  readonly status?: number;
  readonly type?: string;
  /** Sent as JSON, unless `text` is given. */
  readonly json?: unknown;
  readonly text?: string;
}

/** What a route does: answers, or takes the response into its own hands and answers nothing. */
export type Route = (question: Question, response: ServerResponse) => ScriptedAnswer | undefined;

export class ScriptedAdmin {
  readonly questions: Question[] = [];
  readonly socket: string;
  #server: ReturnType<typeof createServer>;
  readonly #routes: Readonly<Record<string, Route | ScriptedAnswer>>;

  private constructor(socket: string, routes: Readonly<Record<string, Route | ScriptedAnswer>>) {
    this.socket = socket;
    this.#routes = routes;
    this.#server = this.#create();
  }

  /** Routes are called as in `GET /v1/status`. It is gone after the test. */
  static async start(
    routes: Readonly<Record<string, Route | ScriptedAnswer>>,
  ): Promise<ScriptedAdmin> {
    const directory = mkdtempSync(join(tmpdir(), 'tmem-admin-'));
    const admin = new ScriptedAdmin(join(directory, 'admin.sock'), routes);
    onTestFinished(async () => {
      await admin.close();
      rmSync(directory, { recursive: true });
    });
    await admin.listen();
    return admin;
  }

  get address(): string {
    return `unix:${this.socket}`;
  }

  /** What was asked, without what every question has. */
  get asked(): string[] {
    return this.questions.map(({ method, path, body }) =>
      [method, path, ...(body === undefined ? [] : [JSON.stringify(body)])].join(' '),
    );
  }

  listen(): Promise<void> {
    this.#server = this.#create();
    return new Promise((resolve) => this.#server.listen(this.socket, resolve));
  }

  close(): Promise<void> {
    this.#server.closeAllConnections();
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }

  #create() {
    return createServer((request, response) => {
      let text = '';
      request.setEncoding('utf8').on('data', (piece: string) => {
        text += piece;
      });
      request.on('end', () => {
        const { method = '', url: path = '', headers } = request;
        const body: unknown = text === '' ? undefined : JSON.parse(text);
        const question = { method, path, headers, body };
        this.questions.push(question);
        const route = this.#routes[`${method} ${path}`] ?? {
          status: 404,
          type: 'application/problem+json',
          json: { title: 'not found', status: 404, detail: `there is no ${method} ${path}` },
        };
        const answer = typeof route === 'function' ? route(question, response) : route;
        if (answer === undefined) return;
        const { status = 200, type = 'application/json', json, text: raw } = answer;
        response.writeHead(status, { 'content-type': type });
        response.end(raw ?? (json === undefined ? undefined : JSON.stringify(json)));
      });
    });
  }
}

/** A refusal as the API words it. */
export function problem(status: number, detail: string): ScriptedAnswer {
  const json = { type: 'about:blank', title: 'refused', status, detail };
  return { status, type: 'application/problem+json', json };
}
