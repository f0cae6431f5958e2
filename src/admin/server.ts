/**
 * The administrative server: metrics, health and the API over HTTP/1.1. Every bound on what clients
 * can hold of it is here; who may ask is `authorisation.ts`, what can be asked `router.ts`.
 */

import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerResponse,
} from 'node:http';
import { messageOf, TmemError } from '../lib/errors.ts';
import { listenAt, stopListening } from '../lib/listen.ts';
import { type ListenAddress, reachableHostAndPort } from '../lib/listen-address.ts';
import { packageVersion } from '../lib/package-version.ts';
import { changingRoutes, tellingRoutes } from './control-routes.ts';
import type { Controls } from './controls.ts';
import { type Plain, sendAnswer, sendPlain, sendProblem } from './http/answers.ts';
import { AuditLog } from './http/audit-log.ts';
import { Authorisation, checkOrigin } from './http/authorisation.ts';
import { BodyBudget } from './http/body.ts';
import { Call } from './http/call.ts';
import { LongCalls } from './http/long-calls.ts';
import { POOL_KEY_HEADER, readQuery } from './http/parameters.ts';
import { Problem, problemOf } from './http/problem.ts';
import { RequestTurns } from './http/request-turns.ts';
import { type Route, Router } from './http/router.ts';
import { type Target, targetOf } from './http/target.ts';
import {
  checkHead,
  isUnread,
  LateRequest,
  refuseConnect,
  refuseUnparsed,
} from './http/unparsed.ts';
import { withDocument } from './openapi.ts';
import { poolRoutes } from './pool-routes.ts';
import type { ClientPools } from './pools/client-pools.ts';

/** Bounds on what clients of this server can hold of it. */
const SOCKETS_MAX = 32;
/** The longest name of an export is 12 KiB when every byte is percent-encoded. */
const HEADER_BYTES_MAX = 16 * 1024;
/** Bytes of bodies and answers that are held at once, at most: two of the longest calls. */
export const BODY_BYTES_MAX = 10 * 1024 * 1024;
const KEEP_ALIVE_MS = 5_000;

/** How long clients may take. */
export interface AdminTimeouts {
  readonly headersMs: number;
  /** For a whole request, with its body. */
  readonly requestMs: number;
  /**
   * A socket on which nothing moves for so long is closed. One that takes no answer has up to twice as
   * long: Node looks at intervals of this whether less is to be sent than at the last.
   */
  readonly idleMs: number;
}

const TIMEOUTS: AdminTimeouts = { headersMs: 5_000, requestMs: 10_000, idleMs: 10_000 };

export interface AdminServerOptions {
  /** Asked for at each scrape. */
  readonly metrics: { readonly contentType: string; scrape(): Promise<string> };
  readonly controls: Controls;
  readonly clientPools: ClientPools;
  /** From then on the service is not ready any more. */
  readonly isStopping: () => boolean;
  /** Required of every request but those for its health; undefined for none. */
  readonly token: string | undefined;
  /** Where calls that change something, and refusals, are noted. */
  readonly log: (message: string) => void;
  readonly timeouts?: AdminTimeouts;
  /** Bytes of bodies and answers that are held at once. Default BODY_BYTES_MAX, and not more. */
  readonly bodyBytesMax?: number | undefined;
}

export class AdminServer {
  readonly #server: Server;
  readonly #options: AdminServerOptions;
  readonly #authorisation: Authorisation;
  readonly #budget: BodyBudget;
  readonly #longCalls = new LongCalls();
  readonly #audit: AuditLog;
  /** Apart, so that no number of calls can keep a defect out of the log. */
  readonly #defects: AuditLog;
  readonly #router: Router;
  readonly #plain = new Map<string, () => Plain | Promise<Plain>>([
    ['/', () => ({ status: 200, body: INDEX })],
    ['/metrics', () => this.#scrape()],
    ['/healthz', () => ({ status: 200, body: 'ok\n' })],
    ['/readyz', () => this.#readiness()],
  ]);

  /** Throws `usage` for a token that cannot be one. */
  constructor(options: AdminServerOptions) {
    this.#options = options;
    this.#budget = new BodyBudget(options.bodyBytesMax ?? BODY_BYTES_MAX);
    this.#authorisation = new Authorisation(options.token);
    this.#audit = new AuditLog(options.log);
    this.#defects = new AuditLog(options.log);
    const { controls, clientPools } = options;
    const routes = [
      ...tellingRoutes(controls),
      ...changingRoutes(controls, clientPools),
      ...poolRoutes(controls, clientPools),
    ];
    const about = { version: packageVersion(), needsToken: options.token !== undefined };
    this.#router = new Router(withDocument(routes, about));
    const { headersMs, requestMs, idleMs } = options.timeouts ?? TIMEOUTS;
    this.#server = createServer({
      maxHeaderSize: HEADER_BYTES_MAX,
      headersTimeout: headersMs,
      requestTimeout: requestMs,
      keepAliveTimeout: KEEP_ALIVE_MS,
      connectionsCheckingInterval: headersMs,
      requireHostHeader: false, // it is required all the same, and its absence put into words
    });
    this.#server.maxConnections = SOCKETS_MAX;
    this.#server.timeout = idleMs;
    // Asked now it is known later too, when the client has hung up.
    this.#server.on('connection', ({ remoteAddress }) => void remoteAddress);
    const turns = new RequestTurns((request, response) => void this.#serve(request, response));
    const take: RequestListener = (request, response) => {
      const { socket } = request;
      // A body that stops coming is noticed first by nothing moving, which would end without a word.
      request.once('timeout', () => {
        if (turns.answerOn(socket) === response)
          this.#server.emit('clientError', new LateRequest(), socket);
        else socket.destroy(); // the answer before it is not taken either
      });
      turns.take(request, response);
    };
    this.#server.on('request', take);
    // Who asks before sending a body is told to go on only when the body is to be read.
    this.#server.on('checkContinue', take);
    this.#server.on('checkExpectation', take);
    this.#server.on('connect', (_, socket) => refuseConnect(socket, turns.answerOn(socket)));
    this.#server.on('clientError', (cause, socket) => {
      // What cannot be read is no reason to leave unanswered what was asked, and done, before it.
      if (isUnread(cause) && turns.endBehind(socket)) return;
      refuseUnparsed(cause, socket, turns.answerOn(socket));
    });
  }

  /** Bytes of request and answer bodies held now. */
  get bufferBytes(): number {
    return this.#budget.usedBytes;
  }

  /**
   * Listens, and answers the URL of the metrics. That of a Unix socket has the socket's path in the
   * place of the host, percent-encoded. Rejects with a TmemError when the address cannot be had, or
   * when strangers could reach it and there is no token.
   */
  async listen(address: ListenAddress): Promise<string> {
    this.#authorisation.checkAddress(address);
    return metricsUrl(await listenAt(this.#server, address, '--admin'));
  }

  /** Stops listening and hangs up on everybody, also in the middle of an answer. */
  close(): void {
    stopListening(this.#server);
    this.#server.closeAllConnections();
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const target = targetOf(request);
    const { path, host } = target;
    let route: Route | undefined;
    try {
      checkHead(request);
      if (!PUBLIC.has(path)) this.#authorisation.check(request.headers, host);
      const plain = this.#plain.get(path);
      if (plain !== undefined) {
        checkReads(target);
        sendPlain(response, await plain());
      } else {
        route = this.#router.find(target.method, path);
        await this.#serveApi(request, response, route, target);
      }
    } catch (cause) {
      const problem = problemOf(cause);
      const note = `${problem.status} ${messageOf(cause)}`;
      if (problem.status === 500) this.#defects.note(request, note);
      else if (isNoteworthy(request, route, problem)) this.#audit.note(request, note);
      sendProblem(request, response, problem);
    }
  }

  async #serveApi(
    request: IncomingMessage,
    response: ServerResponse,
    route: Route,
    { path, query, method }: Target,
  ): Promise<void> {
    const parameters = this.#router.parametersOf(route, path);
    if (!isRead(method)) {
      checkOrigin(request.headers);
      if (this.#options.isStopping())
        throw new Problem(503, 'the service is stopping; ask the next');
    }
    const call = new Call({
      request,
      response,
      parameters,
      query: readQuery(query, route.query ?? []),
      budget: this.#budget,
      longCalls: this.#longCalls,
    });
    response.once('close', () => call.release());
    if (route.body === undefined) call.refuseBody();
    const answer = await route.handle(call);
    if (isChange(request, route)) this.#audit.note(request, String(answer.status));
    sendAnswer(response, answer);
  }

  #readiness(): Plain {
    if (this.#options.isStopping()) return { status: 503, body: 'stopping\n' };
    return { status: 200, body: 'ready\n' };
  }

  async #scrape(): Promise<Plain> {
    const { metrics } = this.#options;
    return { status: 200, body: await metrics.scrape(), type: metrics.contentType };
  }
}

/** Asked by those who start and stop services, who have no token. */
const PUBLIC: ReadonlySet<string> = new Set(['/healthz', '/readyz']);

const INDEX = `tmem

/metrics       what it counts, for Prometheus
/healthz       200 while it runs
/readyz        200 while it takes clients, 503 when it is stopping
/v1/status     what it holds, as JSON
/openapi.json  what else can be asked and done
`;

/** Whether a request with that method only reads. */
function isRead(method: string): boolean {
  return method === 'GET' || method === 'HEAD';
}

/** Throws a Problem for a method that a plain path has not. */
function checkReads({ method, path }: Target): void {
  if (isRead(method)) return;
  throw new Problem(405, `${path} can only be read; use GET or HEAD`, {
    headers: { allow: 'GET, HEAD' },
  });
}

/**
 * Whether it is about how the service runs, rather than about pages of a client: who shows the key
 * of a pool, where one can be shown, acts for that client. Elsewhere such a header says nothing.
 */
function isChange({ method = '', headers }: IncomingMessage, route: Route | undefined): boolean {
  const isOfClient = route?.poolKey !== undefined && headers[POOL_KEY_HEADER] !== undefined;
  return !isRead(method) && !isOfClient;
}

/** Whether the owner of the service should hear of a refusal: of a control, or of a stranger. */
function isNoteworthy(
  request: IncomingMessage,
  route: Route | undefined,
  { status }: Problem,
): boolean {
  return isChange(request, route) || status === 401 || status === 403;
}

function metricsUrl(address: ListenAddress): string {
  if (address.kind === 'unix') return `http+unix://${encodeURIComponent(address.path)}/metrics`;
  if (address.kind === 'tcp') return `http://${reachableHostAndPort(address)}/metrics`;
  throw new TmemError('usage', 'metrics need an address of their own; give one with --admin');
}
