/**
 * The order of requests on one connection. Clients may send the next before they have the answer to
 * the last (RFC 9112, section 9.3.2); here each begins when the answer before it is out. So a get
 * sees the put that it was sent behind, and whoever reads no answers has one made and no more.
 */

import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';

/** Requests of one connection that may wait behind the one being served. */
const WAITING_COUNT_MAX = 16;

interface Turn {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

export class RequestTurns {
  readonly #serve: RequestListener;
  /** By connection, while there are any: the first is being served. */
  readonly #turns = new Map<Duplex, Turn[]>();
  /** Connections that end with the last answer. */
  readonly #ending = new WeakSet<Duplex>();

  /** `serve` begins to answer one request, and sees to all that can go wrong with it. */
  constructor(serve: RequestListener) {
    this.#serve = serve;
  }

  /** Serves a request now, or in its turn; hangs up on who sends too many ahead. */
  take(request: IncomingMessage, response: ServerResponse): void {
    const { socket } = request;
    // Of a connection that has ended it was read too late: no answer would end, and give back buffers.
    if (!socket.writable) return;
    const turns = this.#turns.get(socket);
    if (turns === undefined) {
      const turn = { request, response };
      this.#turns.set(socket, [turn]);
      this.#begin(turn);
    } else if (turns.length > WAITING_COUNT_MAX) {
      socket.destroy(); // no answer can be sent before those that are still to come
    } else {
      turns.push({ request, response });
    }
  }

  /** The answer that is under way on a connection, if one is. */
  answerOn(socket: Duplex): ServerResponse | undefined {
    return this.#turns.get(socket)?.[0]?.response;
  }

  /**
   * Has a connection end when all that came whole on it is answered. False, and nothing done, where
   * nothing did: then what is under way there, if anything, is the answer to what did not.
   */
  endBehind(socket: Duplex): boolean {
    const turns = this.#turns.get(socket) ?? [];
    if (turns[0]?.request.complete !== true) return false;
    if (turns.at(-1)?.request.complete === false) turns.pop();
    this.#ending.add(socket);
    return true;
  }

  #begin({ request, response }: Turn): void {
    const { socket } = request;
    response.once('close', () => {
      const turns = this.#turns.get(socket) ?? [];
      turns.shift();
      const [next] = turns;
      // A response has no socket when it can no longer be sent: the last one closed the connection.
      if (next === undefined || socket.destroyed || next.response.socket === null) {
        this.#turns.delete(socket);
        if (this.#ending.has(socket)) socket.end(() => socket.destroy());
      } else {
        this.#begin(next);
      }
    });
    this.#serve(request, response);
  }
}
