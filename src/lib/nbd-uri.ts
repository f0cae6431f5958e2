/** NBD URIs, after the NetworkBlockDevice project's doc/uri.md. */

import { TmemError } from './errors.ts';
import {
  type ListenAddress,
  reachableHostAndPort,
  type TcpAddress,
  type UnixAddress,
} from './listen-address.ts';

const DEFAULT_PORT = 10809;

/**
 * The URI at which a client finds the export of that name; `''` is the default export. `address`
 * is where the server really listens: the port is not 0, the socket's path is absolute. A wildcard
 * host becomes `localhost`.
 */
export function nbdUri(address: UnixAddress | TcpAddress, exportName: string): string {
  const name = encodeURIComponent(exportName);
  if (address.kind === 'unix') {
    const socket = encodeURIComponent(address.path).replaceAll('%2F', '/');
    return `nbd+unix:///${name}?socket=${socket}`;
  }
  return `nbd://${reachableHostAndPort(address)}/${name}`;
}

/**
 * The URIs at which clients find an export behind `address`: where it is the default export, the one
 * without a name too. None for an inherited socket, nor for an IPv6 address with a zone, which no
 * client takes in a URI.
 */
export function nbdUris(address: ListenAddress, exportName: string, isDefault: boolean): string[] {
  if (address.kind === 'fd') return [];
  if (address.kind === 'tcp' && address.host.includes('%')) return [];
  const named = nbdUri(address, exportName);
  return isDefault ? [named, nbdUri(address, '')] : [named];
}

/** What a URI names. */
export interface NbdTarget {
  readonly address: UnixAddress | TcpAddress;
  /** `''` for the default export. */
  readonly exportName: string;
}

function refuse(text: string, advice: string): never {
  throw new TmemError('usage', `"${text}" ${advice}`);
}

function urlOf(text: string): URL {
  try {
    return new URL(text);
  } catch {
    return refuse(text, 'is no NBD URI; write nbd://HOST/NAME or nbd+unix:///NAME?socket=PATH');
  }
}

/** Reads `nbd://HOST[:PORT]/[NAME]` or `nbd+unix:///[NAME]?socket=PATH`. Throws a usage error. */
export function parseNbdUri(text: string): NbdTarget {
  const url = urlOf(text);
  if (/^nbds(\+|:)/.test(url.protocol)) {
    refuse(
      text,
      'asks for TLS, which is not spoken here; name a server without, or a tunnel to it',
    );
  }
  const exportName = nameOf(text, url.pathname.replace(/^\//, ''));
  if (url.protocol === 'nbd+unix:') {
    const path = url.searchParams.get('socket') ?? '';
    if (path === '') refuse(text, 'names no socket; write nbd+unix:///NAME?socket=PATH');
    return { address: { kind: 'unix', path }, exportName };
  }
  if (url.protocol !== 'nbd:') refuse(text, 'is no NBD URI; it begins with nbd: or nbd+unix:');
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1') || 'localhost';
  const port = url.port === '' ? DEFAULT_PORT : Number(url.port);
  return { address: { kind: 'tcp', host, port }, exportName };
}

function nameOf(text: string, encoded: string): string {
  try {
    return decodeURIComponent(encoded);
  } catch {
    return refuse(text, 'has a name that is not percent-encoded UTF-8; encode it anew');
  }
}
