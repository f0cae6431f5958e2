/**
 * The administrative server: metrics and health over HTTP, for one who watches. It only answers
 * questions; it knows no secret and asks for none, so it belongs on a loopback address or a socket.
 */

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Export } from '../export/export.ts';
import { TmemError } from '../lib/errors.ts';
import { formatHostAndPort, type ListenAddress } from '../lib/listen-address.ts';
import { packageVersion } from '../lib/package-version.ts';
import { Metrics } from '../metrics/metrics.ts';
import { listenAt } from '../nbd/listen.ts';
import { NbdErrno } from '../nbd/protocol.ts';
import { COMMAND_NAMES, LATENCY_BOUNDS_SECONDS, type ServerStatistics } from '../nbd/statistics.ts';
import { type Layer, PUT_OUTCOME_NAMES } from '../tmem/layer.ts';
import { ProcessReadings } from './process-readings.ts';

/** Bounds on what clients of this server can hold of it. */
const SOCKETS_MAX = 32;
const HEADER_BYTES_MAX = 8 * 1024;
const HEADERS_MS_MAX = 5_000;
const REQUEST_MS_MAX = 10_000;
/** A socket on which nothing moves for so long is closed, also one that takes no answer. */
const IDLE_MS_MAX = 10_000;
const KEEP_ALIVE_MS = 5_000;

const TEXT = 'text/plain; charset=utf-8';
const WILDCARD_HOSTS: ReadonlySet<string> = new Set(['0.0.0.0', '::']);

export interface AdminOptions {
  /** From the top of the stack down. */
  readonly layers: readonly Layer[];
  readonly exports: readonly Export[];
  readonly server: ServerStatistics;
  readonly memory: { readonly limitBytes: number; readonly bufferBytes: () => number };
  readonly codecName: string;
  /** From then on the service is not ready any more. */
  readonly isStopping: () => boolean;
}

interface Answer {
  readonly status: number;
  readonly body: string;
  readonly type?: string;
}

export class AdminServer {
  readonly #server: Server;
  readonly #metrics: Metrics;
  readonly #process = new ProcessReadings();
  readonly #isStopping: () => boolean;
  readonly #routes = new Map<string, () => Answer | Promise<Answer>>([
    ['/', () => ({ status: 200, body: INDEX })],
    ['/metrics', () => this.#scrape()],
    ['/healthz', () => ({ status: 200, body: 'ok\n' })],
    ['/readyz', () => this.#readiness()],
  ]);

  constructor(options: AdminOptions) {
    const { layers, exports, server, memory, codecName } = options;
    this.#isStopping = options.isStopping;
    this.#metrics = new Metrics({
      build: { version: packageVersion(), node: process.versions.node, codec: codecName },
      layers,
      exports,
      server,
      memory,
      process: () => this.#process.read(),
      vocabulary: {
        putOutcomes: PUT_OUTCOME_NAMES,
        commands: COMMAND_NAMES,
        errnos: NbdErrno,
        latencyBoundsSeconds: LATENCY_BOUNDS_SECONDS,
      },
    });
    this.#server = createServer({
      maxHeaderSize: HEADER_BYTES_MAX,
      headersTimeout: HEADERS_MS_MAX,
      requestTimeout: REQUEST_MS_MAX,
      keepAliveTimeout: KEEP_ALIVE_MS,
      connectionsCheckingInterval: HEADERS_MS_MAX,
    });
    this.#server.maxConnections = SOCKETS_MAX;
    this.#server.timeout = IDLE_MS_MAX;
    this.#server.on('request', (request, response) => void this.#serve(request, response));
  }

  /**
   * Listens, and answers the URL of the metrics. That of a Unix socket has the socket's path in the
   * place of the host, percent-encoded. Rejects with a TmemError when the address cannot be had.
   */
  async listen(address: ListenAddress): Promise<string> {
    return metricsUrl(await listenAt(this.#server, address, '--admin'));
  }

  /** Stops listening and hangs up on everybody, also in the middle of an answer. */
  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const [path = ''] = (request.url ?? '').split('?', 1);
    const route = this.#routes.get(path);
    if (route === undefined) {
      send(response, { status: 404, body: `There is no ${path} here.\n\n${INDEX}` });
      return;
    }
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      response.setHeader('allow', 'GET, HEAD');
      send(response, { status: 405, body: `${path} can only be read, with GET or HEAD.\n` });
      return;
    }
    send(response, await route());
  }

  #readiness(): Answer {
    if (this.#isStopping()) return { status: 503, body: 'stopping\n' };
    return { status: 200, body: 'ready\n' };
  }

  async #scrape(): Promise<Answer> {
    try {
      await this.#process.measureLag();
      const body = await this.#metrics.scrape();
      return { status: 200, body, type: this.#metrics.contentType };
    } catch {
      // A broken metric must not take the service down with it, nor tell a client how it is built.
      return { status: 500, body: 'The metrics could not be read.\n' };
    }
  }
}

const INDEX = `tmem

/metrics  what it counts, for Prometheus
/healthz  200 while it runs
/readyz   200 while it takes clients, 503 when it is stopping
`;

function send(response: ServerResponse, { status, body, type = TEXT }: Answer): void {
  response.writeHead(status, {
    'content-type': type,
    'content-length': Buffer.byteLength(body),
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    // Nobody reads what came with a request that was not to be served: hang up on it.
    ...(status === 404 || status === 405 ? { connection: 'close' } : {}),
  });
  response.end(body); // a HEAD request gets no body: the response knows
}

function metricsUrl(address: ListenAddress): string {
  if (address.kind === 'unix') return `http+unix://${encodeURIComponent(address.path)}/metrics`;
  if (address.kind === 'tcp') {
    const host = WILDCARD_HOSTS.has(address.host) ? 'localhost' : address.host;
    return `http://${formatHostAndPort(host, address.port)}/metrics`;
  }
  throw new TmemError('usage', 'metrics need an address of their own; give one with --admin');
}
