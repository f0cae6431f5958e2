import { once } from 'node:events';
import { connect } from 'node:net';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { Command } from '../../src/nbd/protocol.ts';
import type { NbdServer } from '../../src/nbd/server.ts';
import { KIB } from '../export/fixture.ts';
import { workspace } from '../tools/workspace.ts';
import { DISCONNECT } from './requests.ts';
import { deserted, startServer } from './server-fixture.ts';
import { HANDSHAKE, SocketClient } from './socket-client.ts';

const LINGER_MS = 5_000;
const READ_COUNT = 16;
/** So many turns, and every request has been answered. */
const TURN_COUNT = 50;

function hasTakenGoodbye(server: NbdServer): boolean {
  let count = 0;
  server.statistics.requestsOf('disk').forEach((command, _, times) => {
    if (command === 'disconnect') count += times;
  });
  return count > 0;
}

test('a client that says goodbye and stays is hung up on', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  const { address, server } = await startServer();
  const socket = connect({ ...address, allowHalfOpen: true });
  socket.on('error', () => undefined);
  socket.write(Buffer.concat([HANDSHAKE, DISCONNECT]));
  socket.resume();
  await once(socket, 'end');
  vi.advanceTimersByTime(LINGER_MS - 1);
  expect(server.statistics.connections).toBe(1);
  vi.advanceTimersByTime(1);
  await deserted(server);
});

test('a client that says goodbye gets its replies first, however slowly it takes them', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  // A Unix socket that nobody enlarged holds less than is produced at once.
  const { server } = await startServer({ socketCalls: null });
  const path = join(workspace(), 'socket');
  await server.listen({ kind: 'unix', path });
  const client = await SocketClient.ready({ path });
  client.socket.pause();
  const requests = Array.from({ length: READ_COUNT }, (_, i) =>
    client.request({ command: Command.READ, offset: (i % 8) * 256 * KIB, length: 256 * KIB }),
  );
  client.socket.write(Buffer.concat([...requests, DISCONNECT]));
  // It takes a little at a time, until what is left has all been produced.
  while (!hasTakenGoodbye(server)) {
    client.socket.resume();
    await new Promise((resolve) => setImmediate(resolve));
    client.socket.pause();
    await new Promise((resolve) => setImmediate(resolve));
  }
  for (let turn = 0; turn < TURN_COUNT; turn++)
    await new Promise((resolve) => setImmediate(resolve));
  vi.advanceTimersByTime(10 * LINGER_MS);
  client.socket.resume();
  await client.hasEnded;
  expect(client.answers.length).toBe(READ_COUNT);
  client.socket.destroy();
  await deserted(server);
});
