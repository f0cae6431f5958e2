import { once } from 'node:events';
import { connect } from 'node:net';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { Command } from '../../src/nbd/protocol.ts';
import { bindSocketCalls } from '../../src/nbd/socket/socket-calls.ts';
import { MIB, noise } from '../export/fixture.ts';
import { workspace } from '../tools/workspace.ts';
import { deserted, startServer } from './server-fixture.ts';
import { SocketClient } from './socket-client.ts';

const { READ, WRITE, FLUSH } = Command;
/** So many turns, and a client that takes no replies has stopped the taking of its requests. */
const TURN_COUNT = 200;

const calls = await bindSocketCalls();

test('a server that stops answers what is under way and nothing else, and hangs up', async () => {
  const { address, server, storage, disk } = await startServer();
  const client = await SocketClient.ready(address);
  const idle = await SocketClient.ready(address);
  const hold = storage.holdNext('read');
  client.socket.write(client.request({ command: READ, length: 100 }));
  await hold.arrived;
  const stopped = server.stop();
  await idle.hasEnded;
  client.socket.write(client.request({ command: READ, offset: MIB, length: 100 }));
  hold.release();
  await Promise.all([client.isClosed, stopped]);
  expect(client.answers.map(({ errno }) => errno)).toEqual([0]);
  expect(client.answers[0]?.data?.equals(disk.subarray(0, 100))).toBe(true);
  await expect(once(connect(address), 'connect')).rejects.toThrow('ECONNREFUSED');
});

test('a server that has stopped has no timer that would keep its process', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval'] });
  const { address, server } = await startServer();
  const client = await SocketClient.ready(address);
  const stopped = server.stop();
  expect(vi.getTimerCount()).toBeGreaterThan(0);
  await Promise.all([stopped, client.isClosed]);
  expect(vi.getTimerCount()).toBe(0);
});

test('a long reply under way is finished before the server has stopped', async () => {
  const { address, server, storage, disk } = await startServer();
  const client = await SocketClient.ready(address);
  client.socket.pause();
  client.socket.write(client.request({ command: READ, length: 8 * MIB }));
  while (storage.requests.read === 0) await new Promise((resolve) => setImmediate(resolve));
  const stopped = server.stop();
  client.socket.resume();
  await stopped;
  // It is there, and has to be read.
  await client.isClosed;
  expect(client.answers[0]?.data?.equals(disk)).toBe(true);
});

test('a client that sends all it has to say before it reads is answered by a server that stops', async () => {
  const { server } = await startServer({ socketCalls: null, drainTimeoutMs: 600_000 });
  const path = join(workspace(), 'socket');
  await server.listen({ kind: 'unix', path });
  const client = await SocketClient.ready({ path });
  client.socket.pause();
  const requests = Array.from({ length: 40_000 }, () =>
    client.request({ command: READ, length: 64 * 1024 }),
  );
  const sent = new Promise((resolve) => client.socket.write(Buffer.concat(requests), resolve));
  for (let turn = 0; turn < TURN_COUNT; turn++)
    await new Promise((resolve) => setImmediate(resolve));
  const stopped = server.stop();
  await sent;
  client.socket.resume();
  await Promise.all([stopped, client.isClosed]);
  expect(client.answers.length).toBeGreaterThan(0);
});

test.runIf(calls !== undefined)(
  'clients that hold on and have everything delay no stop',
  async () => {
    const { server } = await startServer();
    const path = join(workspace(), 'socket');
    await server.listen({ kind: 'unix', path });
    const clients = await Promise.all(
      [1, 2, 3].map(() => SocketClient.ready({ path, allowHalfOpen: true })),
    );
    await Promise.all(clients.map((client) => client.ask({ command: READ, length: MIB })));
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval'] });
    await server.stop();
    for (const { socket } of clients) socket.destroy();
  },
);

test('stopping twice is stopping once, and both wait for the end', async () => {
  const { address, server, storage } = await startServer();
  const client = await SocketClient.ready(address);
  const hold = storage.holdNext('sync');
  client.socket.write(client.request({ command: FLUSH }));
  await hold.arrived;
  const stops = [server.stop(), server.stop()];
  hold.release();
  await Promise.all([...stops, client.isClosed]);
  expect(client.answers.length).toBe(1);
  await server.stop();
  expect(server.statistics.connections).toBe(0);
});

test('a client that never ends its write does not keep a server from stopping', async () => {
  const { address, server, buffers } = await startServer({ drainTimeoutMs: 1 });
  const client = await SocketClient.ready(address);
  await client.ask({ command: FLUSH });
  client.socket.write(client.request({ command: WRITE, payload: noise(MIB, 2) }).subarray(0, 5000));
  while (buffers.lentBytes === 0) await new Promise((resolve) => setImmediate(resolve));
  await server.stop();
  await client.isClosed;
  expect(buffers.lentBytes).toBe(0);
});

test('a server that is to listen and stops meanwhile does not listen', async () => {
  const { server } = await startServer();
  const listening = server.listen({ kind: 'tcp', host: '127.0.0.1', port: 0 });
  await server.stop();
  const bound = await listening;
  const port = bound.kind === 'tcp' ? bound.port : 0;
  await expect(once(connect(port, '127.0.0.1'), 'connect')).rejects.toThrow('ECONNREFUSED');
});

test('abort drops everybody at once', async () => {
  const { address, server, storage, buffers } = await startServer();
  const client = await SocketClient.ready(address);
  const hold = storage.holdNext('read');
  client.socket.write(client.request({ command: READ, length: 100 }));
  await hold.arrived;
  server.abort();
  await client.isClosed;
  await expect(once(connect(address), 'connect')).rejects.toThrow('ECONNREFUSED');
  hold.release();
  await deserted(server);
  while (buffers.lentBytes > 0) await new Promise((resolve) => setImmediate(resolve));
  await server.stop();
});

test('a client in its handshake does not keep a server from stopping', async () => {
  const { address, server } = await startServer({ drainTimeoutMs: 600_000 });
  const client = new SocketClient(address);
  await once(client.socket, 'data');
  await Promise.all([server.stop(), client.isClosed]);
});
