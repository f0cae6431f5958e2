/**
 * Who may ask. Whoever can connect to a loopback address or a Unix socket needs no token, unless
 * one is configured; anyone else needs one. Two checks keep a browser on this machine from being
 * used by a page it shows: the Host of a loopback request must be a loopback name (a foreign name
 * that was rebound to 127.0.0.1 is not), and a request that changes something may have no Origin.
 *
 * Source: RFC 6750 (bearer tokens); the checklist of XSA-15's fixes: deny by default.
 */

import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { TmemError } from '../../lib/errors.ts';
import { formatListenAddress, type ListenAddress } from '../../lib/listen-address.ts';
import { Problem } from './problem.ts';

/** Characters that a token may have, RFC 6750's b64token. */
const TOKEN_SHAPE = /^[A-Za-z0-9\-._~+/]{16,512}=*$/;
const LOOPBACK_V4 = /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/;
const HOST_SHAPE = /^(?:\[([^\]]+)\]|([^:]+))(?::\d{1,5})?$/;

/** Whether only this machine can connect to that host. */
function isLoopbackHost(host: string): boolean {
  return host === 'localhost' || host === '::1' || LOOPBACK_V4.test(host);
}

/** Throws `usage` for a token that no client could send, or that can be guessed. */
function checkToken(token: string): void {
  if (TOKEN_SHAPE.test(token)) return;
  throw new TmemError(
    'usage',
    'the admin token must have 16 to 512 letters, digits or -._~+/; make one with openssl rand -hex 16',
  );
}

export class Authorisation {
  readonly #digest: Buffer | undefined;
  #isLoopbackTcp = false;

  /** Throws `usage` for a token that cannot be one. */
  constructor(token: string | undefined) {
    if (token !== undefined) checkToken(token);
    this.#digest = token === undefined ? undefined : digestOf(token);
  }

  /** Throws `usage` when strangers could connect to `address` and there is no token. */
  checkAddress(address: ListenAddress): void {
    this.#isLoopbackTcp = address.kind === 'tcp' && isLoopbackHost(address.host);
    if (this.#digest !== undefined || address.kind === 'unix' || this.#isLoopbackTcp) return;
    throw new TmemError(
      'usage',
      `${formatListenAddress(address)} can be reached from elsewhere, and whoever reaches it controls ` +
        'the service: give it a token with --token-file, or choose a loopback address or a Unix socket ' +
        'with --admin',
    );
  }

  /** Throws the Problem that a request to `host` has which may not be served. */
  check({ authorization }: IncomingHttpHeaders, host: string | undefined): void {
    if (this.#digest !== undefined) checkBearer(authorization, this.#digest);
    else if (this.#isLoopbackTcp) checkHost(host);
  }
}

/** Throws a Problem when a web page asks for a change. */
export function checkOrigin(headers: IncomingHttpHeaders): void {
  if (headers.origin === undefined) return;
  throw new Problem(403, 'a web page may not change anything here; send no Origin header');
}

/** Compares in a time that does not depend on where they differ. */
export function isSameSecret(a: string, b: string): boolean {
  return timingSafeEqual(digestOf(a), digestOf(b));
}

function checkBearer(header: string | undefined, digest: Buffer): void {
  const given = /^Bearer +(\S+) *$/i.exec(header ?? '')?.[1];
  if (given !== undefined && timingSafeEqual(digestOf(given), digest)) return;
  const challenge = 'Bearer realm="tmem"';
  if (given === undefined) {
    throw new Problem(401, 'a token is required; send Authorization: Bearer TOKEN', {
      headers: { 'www-authenticate': challenge },
    });
  }
  throw new Problem(401, 'the token is not the one of this service; send the one it was given', {
    headers: { 'www-authenticate': `${challenge}, error="invalid_token"` },
  });
}

function checkHost(given: string | undefined): void {
  if (given === undefined) return; // HTTP/1.0: no browser
  const match = HOST_SHAPE.exec(given.toLowerCase());
  const host = match?.[1] ?? match?.[2] ?? '';
  if (isLoopbackHost(host)) return;
  throw new Problem(403, `${given.slice(0, 80)} is not this machine; ask for localhost`);
}

function digestOf(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
