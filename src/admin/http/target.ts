/**
 * Where a request goes, and how. A client may write the whole URL in the place of the path, as it does
 * for a proxy; then the host in it counts, and not that of the header.
 *
 * Source: RFC 9112, sections 3.2.1 and 3.2.2.
 */

import type { IncomingMessage } from 'node:http';

export interface Target {
  readonly path: string;
  readonly query: string;
  readonly method: string;
  /** Undefined where the client names none: HTTP/1.0. */
  readonly host: string | undefined;
}

const ABSOLUTE_FORM = /^http:\/\/([^/?]*)(.*)$/i;

/** Where `request` goes, as its client wrote it: nothing is decoded. */
export function targetOf({ url = '', method = '', headers }: IncomingMessage): Target {
  const [, host = headers.host, pathAndQuery = url] = ABSOLUTE_FORM.exec(url) ?? [];
  const [path, query] = splitOnce(pathAndQuery, '?');
  return { path: path === '' ? '/' : path, query, method, host };
}

function splitOnce(text: string, separator: string): [string, string] {
  const at = text.indexOf(separator);
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)];
}
