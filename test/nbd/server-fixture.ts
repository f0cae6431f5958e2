/** A server on a real socket, for a test. */

import { afterEach, vi } from 'vitest';
import { NbdServer, type NbdServerOptions } from '../../src/nbd/server.ts';
import { MIB, makeExport } from '../export/fixture.ts';

const servers: NbdServer[] = [];

afterEach(async () => {
  vi.useRealTimers();
  for (const server of servers.splice(0)) {
    server.abort();
    await server.stop();
  }
});

/** A server of one export in memory, on a loopback port; gone after the test. */
export async function startServer(options: Partial<NbdServerOptions> = {}, sizeBytes = 8 * MIB) {
  const parts = makeExport({ sizeBytes });
  const log: string[] = [];
  const server = new NbdServer({
    exports: [parts.target],
    maxConnections: 8,
    handshakeTimeoutMs: 60_000,
    spinMicroseconds: 0,
    log: (message) => log.push(message),
    ...options,
  });
  servers.push(server);
  const bound = await server.listen({ kind: 'tcp', host: '127.0.0.1', port: 0 });
  if (bound.kind !== 'tcp') throw new Error('it listens elsewhere');
  const address = { host: bound.host, port: bound.port };
  return { ...parts, server, log, address };
}

/** Resolves when the server has seen all clients go. */
export async function deserted(server: NbdServer): Promise<void> {
  while (server.statistics.connections > 0) await new Promise((resolve) => setImmediate(resolve));
}
