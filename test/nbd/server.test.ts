import { once } from 'node:events';
import { connect } from 'node:net';
import { expect, test, vi } from 'vitest';
import { Command } from '../../src/nbd/protocol.ts';
import { KIB, MIB, noise } from '../export/fixture.ts';
import { DISCONNECT } from './requests.ts';
import { deserted, startServer } from './server-fixture.ts';
import { HANDSHAKE, SocketClient } from './socket-client.ts';

const { READ, WRITE, FLUSH, BLOCK_STATUS } = Command;

test('a client reads, writes, flushes and asks for status on one connection', async () => {
  const { address, disk } = await startServer();
  const client = await SocketClient.ready(address);
  const payload = noise(MIB, 3);
  const answers = await client.ask(
    { command: WRITE, offset: 5, payload },
    { command: FLUSH },
    { command: BLOCK_STATUS, length: MIB },
  );
  expect(answers.map(({ errno }) => errno)).toEqual([0, 0, 0]);
  const [long] = await client.ask({ command: READ, offset: 0, length: 8 * MIB });
  expect(long?.data?.equals(disk)).toBe(true);
  expect(disk.subarray(5, 5 + MIB).equals(payload)).toBe(true);
});

test('requests right behind the handshake are answered', async () => {
  const { address, disk } = await startServer();
  const client = new SocketClient(address);
  client.socket.write(
    Buffer.concat([HANDSHAKE, client.request({ command: READ, offset: 9, length: 99 })]),
  );
  await client.answered(1);
  expect(client.answers[0]?.data?.equals(disk.subarray(9, 108))).toBe(true);
});

test('clients beyond the limit are turned away, and admitted when there is room', async () => {
  const onFull = vi.fn();
  const { address, server } = await startServer({ maxConnections: 2, onFull });
  const [first] = [await SocketClient.ready(address), await SocketClient.ready(address)];
  const third = new SocketClient(address);
  await third.isClosed;
  await new SocketClient(address).isClosed;
  expect(server.statistics).toMatchObject({ connections: 2, refused: 2, accepted: 2 });
  expect(onFull).toHaveBeenCalledTimes(1);
  first.socket.end(DISCONNECT);
  await first.isClosed;
  while (server.statistics.connections > 1) await new Promise((resolve) => setImmediate(resolve));
  const fourth = await SocketClient.ready(address);
  expect((await fourth.ask({ command: FLUSH })).length).toBe(1);
  await new SocketClient(address).isClosed;
  expect(onFull).toHaveBeenCalledTimes(2);
});

test('a handshake that takes too long is cut off and counted once; one in time is not', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  const { address, server } = await startServer({ handshakeTimeoutMs: 10_000 });
  const ready = await SocketClient.ready(address);
  const late = new SocketClient(address);
  await once(late.socket, 'data');
  vi.advanceTimersByTime(9_999);
  expect(server.statistics.connections).toBe(2);
  vi.advanceTimersByTime(1);
  await late.isClosed;
  while (server.statistics.connections > 1) await new Promise((resolve) => setImmediate(resolve));
  expect(server.statistics.failedHandshakes).toBe(1);
  expect((await ready.ask({ command: FLUSH }))[0]?.errno).toBe(0);
});

test('a client that breaks a rule is dropped and named in the log; others go on', async () => {
  const { address, server, log } = await startServer();
  const good = await SocketClient.ready(address);
  const bad = await SocketClient.ready(address);
  bad.socket.write(Buffer.alloc(28, 1));
  await bad.isClosed;
  const worse = new SocketClient(address);
  worse.socket.write(Buffer.alloc(20, 0xff));
  await worse.isClosed;
  expect(log.length).toBe(2);
  expect(log[0]).toMatch(/disconnected: a request without the magic number/);
  expect(server.statistics.violations).toBe(2);
  expect((await good.ask({ command: FLUSH }))[0]?.errno).toBe(0);
});

test('clients that vanish in the middle of anything leave nothing behind', async () => {
  const { address, server, buffers, lender, disk, storage } = await startServer({
    maxConnections: 99,
  });
  storage.onRead = () => new Promise((resolve) => setImmediate(resolve));
  const sent = new SocketClient(address);
  const stream = Buffer.concat([
    HANDSHAKE,
    sent.request({ command: READ, offset: 0, length: 3 * MIB }),
    sent.request({ command: WRITE, offset: MIB, payload: noise(MIB, 4) }),
    sent.request({ command: READ, offset: 64 * KIB, length: 256 * KIB }),
    sent.request({ command: READ, offset: 64 * KIB, length: 64 * KIB }),
    sent.request({ command: BLOCK_STATUS, length: MIB }),
  ]);
  sent.socket.destroy();
  const cuts = [0, 3, 30, HANDSHAKE.length, HANDSHAKE.length + 20];
  for (let at = HANDSHAKE.length + 28; at < stream.length; at += 90_001) cuts.push(at);
  for (const [i, at] of [...cuts, stream.length].entries()) {
    const socket = connect(address);
    socket.on('error', () => undefined);
    await once(socket, 'connect');
    socket.write(stream.subarray(0, at));
    const goes = (): void => {
      if (i % 3 === 0) socket.resetAndDestroy();
      else socket.destroy();
    };
    if (i % 2 === 0)
      socket.once('data', goes); // the greeting, or a reply
    else goes();
  }
  await deserted(server);
  while (buffers.lentBytes > 0) await new Promise((resolve) => setImmediate(resolve));
  expect(lender?.lentCount).toBe(0);
  const client = await SocketClient.ready(address);
  const [answer] = await client.ask({ command: READ, length: MIB });
  expect(answer?.data?.equals(disk.subarray(0, MIB))).toBe(true);
});

test('a client that reads nothing is not answered without bound, and is answered in the end', async () => {
  const { address, buffers } = await startServer();
  const client = await SocketClient.ready(address);
  client.socket.pause();
  const requests = Array.from({ length: 400 }, (_, i) =>
    client.request({ command: READ, offset: (i % 30) * 256 * KIB, length: 256 * KIB }),
  );
  client.socket.write(Buffer.concat(requests));
  const other = await SocketClient.ready(address);
  for (let i = 0; i < 30; i++)
    await other.ask({ command: READ, offset: (i * MIB) / 4, length: MIB / 4 });
  expect(buffers.lentBytes).toBeLessThan(buffers.totalBytes / 2);
  client.socket.resume();
  await client.answered(400);
  expect(client.answers.every(({ errno }) => errno === 0)).toBe(true);
});

test('a client that sends much before it reads anything is answered when it does', async () => {
  const { address, disk } = await startServer();
  const client = await SocketClient.ready(address);
  client.socket.pause();
  for (let i = 0; i < 100; i++) {
    const offset = (i % 30) * 256 * KIB;
    client.socket.write(client.request({ command: READ, offset, length: 256 * KIB }));
    const payload = Buffer.alloc(256 * KIB, i);
    client.socket.write(client.request({ command: WRITE, offset: offset + 1, payload }));
  }
  const other = await SocketClient.ready(address);
  await other.ask({ command: READ, length: 8 * MIB });
  client.socket.resume();
  await client.answered(200);
  expect(client.answers.every(({ errno }) => errno === 0)).toBe(true);
  expect(disk[9 * 256 * KIB + 1]).toBe(99);
});

test('hot pages are sent from where they lie, however many are asked for at once', async () => {
  const { address, disk, lender } = await startServer();
  // Zeros would lie in zcache, which lends nothing.
  for (let at = 112 * KIB; at < disk.length; at += 128 * KIB)
    disk.copy(disk, at, at - 16 * KIB, at);
  const client = await SocketClient.ready(address);
  await client.ask({ command: READ, length: 8 * MIB });
  if (lender === undefined) throw new Error('there is no hot layer');
  const counted = vi.spyOn(lender, 'countLent');
  const requests = Array.from({ length: 64 }, (_, i) => ({
    ...{ command: READ, offset: i * 128 * KIB, length: 128 * KIB },
  }));
  const answers = await client.ask(...requests);
  expect(counted).toHaveBeenCalledTimes(64);
  for (const [i, { data }] of answers.entries()) {
    expect(data?.equals(disk.subarray(i * 128 * KIB, (i + 1) * 128 * KIB))).toBe(true);
  }
  while (lender.lentCount > 0) await new Promise((resolve) => setImmediate(resolve));
});

test.each([
  [400, 256 * KIB],
  [12, 8 * MIB],
])(
  '%d reads of %d bytes that take no room leave other clients their turns',
  async (count, length) => {
    const { address, server } = await startServer();
    const greedy = await SocketClient.ready(address);
    const other = await SocketClient.ready(address);
    await greedy.ask({ command: Command.WRITE_ZEROES, length: 8 * MIB });
    await greedy.ask({ command: READ, length: 8 * MIB }); // from now on they are cached as zeros
    const requests = Array.from({ length: count }, () => greedy.request({ command: READ, length }));
    greedy.socket.write(Buffer.concat(requests));
    await other.ask({ command: READ, length: 1 });
    const { counts } = server.statistics.latencies[READ]!;
    expect(counts.reduce((sum, each) => sum + each)).toBeLessThan(count);
    await greedy.answered(2 + count);
  },
);

test('a client that closes its side while it owes nothing gets all its answers', async () => {
  const { address, server } = await startServer();
  const client = await SocketClient.ready(address);
  client.socket.pause();
  const requests = Array.from({ length: 100 }, (_, i) =>
    client.request({ command: READ, offset: (i % 30) * 256 * KIB, length: 256 * KIB }),
  );
  client.socket.end(Buffer.concat(requests));
  client.socket.resume();
  await client.isClosed;
  expect(client.answers.length).toBe(100);
  await deserted(server);
});

test('an idle server does not spin', async () => {
  const { address, server } = await startServer({ spinMicroseconds: 50 });
  const client = await SocketClient.ready(address);
  await client.ask({ command: FLUSH });
  const { spinner } = server;
  while (spinner.paid + spinner.inVain === 0) await new Promise((resolve) => setImmediate(resolve));
  const spins = spinner.paid + spinner.inVain;
  for (let turn = 0; turn < 100; turn++) await new Promise((resolve) => setImmediate(resolve));
  expect(spinner.paid + spinner.inVain).toBe(spins);
});

test('to stay awake for a client that asks on pays', async () => {
  const { address, server } = await startServer({ spinMicroseconds: 100_000 });
  const client = await SocketClient.ready(address);
  for (let i = 0; i < 9; i++) await client.ask({ command: FLUSH });
  const { spinner } = server;
  while (spinner.paid + spinner.inVain === 0) await new Promise((resolve) => setImmediate(resolve));
  expect([spinner.paid, spinner.inVain]).toEqual([1, 0]);
});

test('a client that takes no replies is dropped when others wait for buffers, and only then', async () => {
  const { address, server, buffers, log } = await startServer();
  const good = await SocketClient.ready(address);
  const stalled = await SocketClient.ready(address);
  stalled.socket.pause();
  const read = { command: READ, offset: 0, length: 8 * MIB };
  for (let i = 0; i < 4; i++) stalled.socket.write(stalled.request(read));
  while (buffers.lentBytes === 0) await new Promise((resolve) => setImmediate(resolve));
  for (let i = 0; i < 100; i++) {
    await new Promise((resolve) => setImmediate(resolve));
    server.lookForStalls();
  }
  expect(log).toEqual([]);
  while (buffers.take(256 * KIB) !== undefined); // none is left
  void buffers.wait(256 * KIB).then((buffer) => buffers.release(buffer));
  while (server.statistics.connections > 1) {
    await new Promise((resolve) => setImmediate(resolve));
    server.lookForStalls();
  }
  expect(log).toEqual([expect.stringMatching(/took no replies/)]);
  expect((await good.ask({ command: FLUSH }))[0]?.errno).toBe(0);
});

test('clients that take no replies are looked for every 15 s until the server stops', async () => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
  const { server } = await startServer();
  const look = vi.spyOn(server, 'lookForStalls');
  vi.advanceTimersByTime(14_999);
  expect(look).toHaveBeenCalledTimes(0);
  vi.advanceTimersByTime(1);
  expect(look).toHaveBeenCalledTimes(1);
  await server.stop();
  vi.advanceTimersByTime(60_000);
  expect(look).toHaveBeenCalledTimes(1);
});
