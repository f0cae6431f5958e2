import { once } from 'node:events';
import { connect, type NetConnectOpts, type Socket } from 'node:net';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { Command, Option } from '../../src/nbd/protocol.ts';
import type { NbdServer } from '../../src/nbd/server.ts';
import { bindSocketCalls, type SocketCalls } from '../../src/nbd/socket/socket-calls.ts';
import { KIB } from '../export/fixture.ts';
import { workspace } from '../tools/workspace.ts';
import { FIXED, NO_ZEROES, option, u32 } from './handshake/scripted-client.ts';
import { DISCONNECT } from './requests.ts';
import { deserted, startServer } from './server-fixture.ts';
import { HANDSHAKE, SocketClient } from './socket-client.ts';

const LINGER_MS = 5_000;
const READ_COUNT = 16;
/** So many turns, and every request has been answered. */
const TURN_COUNT = 50;
const TIMERS = ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval'] as const;

const calls = await bindSocketCalls();

function hasTakenGoodbye(server: NbdServer): boolean {
  let count = 0;
  server.statistics.requestsOf('disk').forEach((command, _, times) => {
    if (command === 'disconnect') count += times;
  });
  return count > 0;
}

/** A client that keeps its side open, whatever the server does. */
async function stubbornClient(address: NetConnectOpts): Promise<Socket> {
  const socket = connect({ ...address, allowHalfOpen: true });
  onTestFinished(() => {
    socket.destroy();
  });
  socket.on('error', () => undefined);
  socket.write(Buffer.concat([HANDSHAKE, DISCONNECT]));
  socket.resume();
  await once(socket, 'end');
  return socket;
}

test('a client that says goodbye and stays is hung up on', async () => {
  vi.useFakeTimers({ toFake: [...TIMERS] });
  const { address, server } = await startServer({ socketCalls: null });
  await stubbornClient(address);
  vi.advanceTimersByTime(LINGER_MS - 1);
  expect(server.statistics.connections).toBe(1);
  vi.advanceTimersByTime(1);
  await deserted(server);
});

test('a client that gives up and goes on talking is watched once, and leaves nothing behind', async () => {
  vi.useFakeTimers({ toFake: [...TIMERS] });
  const { address, server } = await startServer({ socketCalls: null });
  const timerCount = vi.getTimerCount();
  const socket = connect({ ...address, allowHalfOpen: true });
  socket.write(Buffer.concat([u32(FIXED | NO_ZEROES), option(Option.ABORT)]));
  socket.resume();
  await once(socket, 'end');
  expect(vi.getTimerCount()).toBe(timerCount + 2); // of its handshake, and of its goodbye
  socket.end('more');
  await deserted(server);
  expect(vi.getTimerCount()).toBe(timerCount);
});

describe.runIf(calls !== undefined)('a client that says goodbye and stays', () => {
  const real = calls as SocketCalls;

  test('is hung up on at once when it has everything', async () => {
    vi.useFakeTimers({ toFake: [...TIMERS] });
    const { server } = await startServer();
    const path = join(workspace(), 'socket');
    await server.listen({ kind: 'unix', path });
    const client = await SocketClient.ready({ path, allowHalfOpen: true });
    client.socket.write(DISCONNECT);
    await deserted(server);
    client.socket.destroy();
  });

  test.each([0, 10_000_000])(
    'or closes its side gets its replies first, with %d µs to stay awake',
    async (spinMicroseconds) => {
      vi.useFakeTimers({ toFake: [...TIMERS] });
      // A Unix socket that nobody enlarged holds less than is produced at once.
      const socketCalls = { ...real, enlarge: () => undefined };
      const { server } = await startServer({ socketCalls, spinMicroseconds });
      const path = join(workspace(), 'socket');
      await server.listen({ kind: 'unix', path });
      const client = await SocketClient.ready({ path });
      client.socket.pause();
      client.socket.end(client.request({ command: Command.READ, length: 512 * KIB }));
      for (let turn = 0; turn < TURN_COUNT; turn++)
        await new Promise((resolve) => setImmediate(resolve));
      client.socket.resume();
      await client.hasEnded;
      expect(client.answers.length).toBe(1);
      // It sends no more: nobody need wait until it says so itself.
      for (let ms = 0; ms < LINGER_MS / 2 && server.statistics.connections > 0; ms++) {
        vi.advanceTimersByTime(1);
        await new Promise((resolve) => setImmediate(resolve));
      }
      expect(server.statistics.connections).toBe(0);
    },
  );

  test('is hung up on as soon as it has taken the rest', async () => {
    vi.useFakeTimers({ toFake: [...TIMERS] });
    let isDelivered = false;
    const { address, server } = await startServer({
      socketCalls: { ...real, isDelivered: () => isDelivered },
    });
    await stubbornClient(address);
    vi.advanceTimersByTime(LINGER_MS / 2);
    expect(server.statistics.connections).toBe(1);
    isDelivered = true;
    vi.advanceTimersByTime(LINGER_MS / 10);
    await deserted(server);
  });

  test('is not hung up on while it sends, until it has had its time', async () => {
    vi.useFakeTimers({ toFake: [...TIMERS] });
    const { address, server } = await startServer({
      socketCalls: { ...real, isDelivered: () => true, receive: () => 1 },
    });
    await stubbornClient(address);
    vi.advanceTimersByTime(LINGER_MS - 1);
    expect(server.statistics.connections).toBe(1);
    vi.advanceTimersByTime(LINGER_MS / 10);
    await deserted(server);
  });
});

test('a client that says goodbye gets its replies first, however slowly it takes them', async () => {
  vi.useFakeTimers({ toFake: [...TIMERS] });
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
