/** Where a server listens: `unix:PATH`, `tcp:HOST:PORT`, or a socket inherited from the parent. */

import { TmemError } from './errors.ts';

/** A socket in the file system; a path of at most 107 bytes. */
export interface UnixAddress {
  readonly kind: 'unix';
  readonly path: string;
}

/** A port of a host. */
export interface TcpAddress {
  readonly kind: 'tcp';
  /** A name or an address; an IPv6 address has no brackets here. */
  readonly host: string;
  /** 0 lets the system choose. */
  readonly port: number;
}

/** A file descriptor on which a parent process listens already (socket activation). */
export interface InheritedAddress {
  readonly kind: 'fd';
  readonly fd: number;
}

/** Where a server may listen. */
export type ListenAddress = UnixAddress | TcpAddress | InheritedAddress;

/** Where `tmem serve` has its admin listener unless told. */
export const DEFAULT_ADMIN_ADDRESS = '127.0.0.1:9842';

/** `sun_path` of unix(7) has 108 bytes, the last of them the terminator. */
const UNIX_PATH_BYTES_MAX = 107;

const PORT_MAX = 65535;
const TCP_SHAPE = /^(?:tcp:|(?!tcp:))(?:\[([0-9A-Fa-f:.%\w]+)\]|([^:[\]/\s]+)):(\d{1,5})$/;

function refuse(text: string, advice: string): never {
  throw new TmemError('usage', `"${text}" ${advice}`, { context: { address: text } });
}

/**
 * Reads `unix:PATH`, `tcp:HOST:PORT` or `HOST:PORT`, an IPv6 host in brackets. A host must be named:
 * to listen on every interface is a decision, `0.0.0.0`. Throws a usage error for anything else,
 * which shows `example`.
 */
export function parseListenAddress(
  text: string,
  example = 'tcp:127.0.0.1:10809',
): UnixAddress | TcpAddress {
  if (text.startsWith('unix:')) {
    const path = text.slice('unix:'.length);
    if (path === '' || path.includes('\0')) refuse(text, 'names no socket; write unix:PATH');
    return { kind: 'unix', path };
  }
  const match = TCP_SHAPE.exec(text);
  if (match === null) {
    const form = example.startsWith('tcp:') ? 'tcp:HOST:PORT' : 'HOST:PORT';
    refuse(text, `is not an address; write unix:PATH or ${form}, as ${example}`);
  }
  const port = Number(match[3]);
  if (port > PORT_MAX) refuse(text, `has a port above ${PORT_MAX}; choose a lower one`);
  return { kind: 'tcp', host: match[1] ?? match[2] ?? '', port };
}

/** The text that `parseListenAddress` reads back; an inherited socket, which has none, is `fd:N`. */
export function formatListenAddress(address: ListenAddress): string {
  if (address.kind === 'unix') return `unix:${address.path}`;
  if (address.kind === 'fd') return `fd:${address.fd}`;
  return `tcp:${formatHostAndPort(address.host, address.port)}`;
}

/** Hosts that mean "every interface" to a server and nothing to a client. */
const WILDCARD_HOSTS: ReadonlySet<string> = new Set(['0.0.0.0', '::']);

/** `HOST:PORT` at which a client finds who listens there: a wildcard host becomes `localhost`. */
export function reachableHostAndPort({ host, port }: TcpAddress): string {
  return formatHostAndPort(WILDCARD_HOSTS.has(host) ? 'localhost' : host, port);
}

/** `HOST:PORT`, with brackets around an IPv6 address. */
export function formatHostAndPort(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Throws a usage error when the system could not bind a socket at `path`: it would be cut short. */
export function checkUnixPath(path: string): void {
  const length = Buffer.byteLength(path);
  if (length <= UNIX_PATH_BYTES_MAX) return;
  throw new TmemError(
    'usage',
    `the socket path ${path} has ${length} bytes, more than the ${UNIX_PATH_BYTES_MAX} the system ` +
      'takes; choose a shorter one',
    { context: { path, length } },
  );
}
