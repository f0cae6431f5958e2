/**
 * A line for every call that changed something, and for every refusal that matters: who asked, for
 * what, and what came of it. Clients cause these lines, so there is a bound on how many.
 */

import type { IncomingMessage } from 'node:http';

/** Lines that may come at once, and how many more each second after that. */
const BURST_LINES = 30;
const LINES_PER_SECOND = 2;
const TARGET_LENGTH_MAX = 200;
const OUTCOME_LENGTH_MAX = 300;

export class AuditLog {
  readonly #log: (message: string) => void;
  readonly #nowMs: () => number;
  #tokens = BURST_LINES;
  #refilledAtMs: number;
  #leftOut = 0;

  /** `nowMs` is a clock that never goes back. */
  constructor(log: (message: string) => void, nowMs: () => number = () => performance.now()) {
    this.#log = log;
    this.#nowMs = nowMs;
    this.#refilledAtMs = nowMs();
  }

  /** Notes what came of a request. */
  note(request: IncomingMessage, outcome: string): void {
    this.#refill();
    if (this.#tokens < 1) {
      this.#leftOut++;
      return;
    }
    this.#tokens--;
    if (this.#leftOut > 0) {
      this.#log(`admin: ${this.#leftOut} more calls were not noted here`);
      this.#leftOut = 0;
    }
    const who = request.socket.remoteAddress ?? 'the Unix socket';
    const target = (request.url ?? '').slice(0, TARGET_LENGTH_MAX);
    // Words of a client may be in it: they stay on this line.
    const said = outcome.slice(0, OUTCOME_LENGTH_MAX).replaceAll(/\p{Cc}/gu, '?');
    this.#log(`admin: ${request.method} ${target} from ${who}: ${said}`);
  }

  #refill(): void {
    const nowMs = this.#nowMs();
    const gained = ((nowMs - this.#refilledAtMs) / 1000) * LINES_PER_SECOND;
    this.#tokens = Math.min(BURST_LINES, this.#tokens + gained);
    this.#refilledAtMs = nowMs;
  }
}
