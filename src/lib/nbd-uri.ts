/** NBD URIs, after the NetworkBlockDevice project's doc/uri.md. */

import { formatHostAndPort, type TcpAddress, type UnixAddress } from './listen-address.ts';

/** Hosts that mean "every interface" to a server and nothing to a client. */
const WILDCARD_HOSTS: ReadonlySet<string> = new Set(['0.0.0.0', '::']);

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
  const host = WILDCARD_HOSTS.has(address.host) ? 'localhost' : address.host;
  return `nbd://${formatHostAndPort(host, address.port)}/${name}`;
}
