import { constants } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { Command } from '../../../src/nbd/protocol.ts';
import { bindSocketCalls, type SocketCalls } from '../../../src/nbd/socket/socket-calls.ts';
import { KIB, MIB, noise } from '../../export/fixture.ts';
import { workspace } from '../../tools/workspace.ts';
import { DISCONNECT } from '../requests.ts';
import { deserted, startServer } from '../server-fixture.ts';
import { SocketClient } from '../socket-client.ts';

const { READ, WRITE, FLUSH } = Command;
/** A spin that lasts: clients are asked directly for as long as they are quick. */
const SPIN_MICROSECONDS = 10_000;
/** One that outlasts its test, however busy the machine is. */
const ENDLESS_SPIN_MICROSECONDS = 1e9;
const CLIENT_COUNT = 3;
const ROUND_COUNT = 12;
const { EAGAIN } = constants.errno;

const calls = await bindSocketCalls();

/** Numbers from 0 to 1 that are the same in every run. */
function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

/** Sends at most a few bytes at a time, or nothing. */
function reluctant(real: SocketCalls, random: () => number): SocketCalls {
  return {
    ...real,
    send: (fd, segments) => {
      if (random() < 0.3) return -EAGAIN;
      const [first = Buffer.alloc(0), second] = segments;
      const part = first.subarray(0, 1 + Math.floor(random() * first.length));
      const isWhole = part.length === first.length && second !== undefined;
      return real.send(fd, isWhole ? [first, second.subarray(0, 5)] : [part]);
    },
  };
}

/** Clients that read and write at once, in parts of any size, and see what a disk would show them. */
async function ordeal(
  socketCalls: SocketCalls | null,
  spinMicroseconds: number,
  path?: string,
): Promise<void> {
  const started = await startServer({ socketCalls, spinMicroseconds });
  const { disk, server } = started;
  if (path !== undefined) await server.listen({ kind: 'unix', path });
  const address = path === undefined ? started.address : { path };
  const random = randomOf(7);
  const clients = await Promise.all(
    Array.from({ length: CLIENT_COUNT }, () => SocketClient.ready(address)),
  );
  const regionBytes = 2 * MIB;
  const expected = Buffer.from(disk);
  for (let round = 0; round < ROUND_COUNT; round++) {
    await Promise.all(
      clients.map(async (client, at) => {
        const payload = noise(1 + Math.floor(random() * 300 * KIB), round * 10 + at);
        const offset = at * regionBytes + Math.floor(random() * MIB);
        payload.copy(expected, offset);
        await client.ask({ command: WRITE, offset, payload }, { command: FLUSH });
        const length = [4 * KIB, 64 * KIB, MIB][round % 3] ?? KIB;
        const reads = Array.from({ length: 5 }, (_, i) => ({
          ...{ command: READ, length },
          offset: at * regionBytes + i * 64 * KIB,
        }));
        const answers = await client.ask(...reads);
        // Cookies are given in the order of asking; answers come in any.
        const inOrder = answers.toSorted((a, b) => Number(a.cookie - b.cookie));
        for (const [i, { data }] of inOrder.entries()) {
          const from = reads[i]?.offset ?? 0;
          expect(data?.equals(expected.subarray(from, from + length))).toBe(true);
        }
      }),
    );
  }
  expect(disk.equals(expected)).toBe(true);
  for (const client of clients) client.socket.end(DISCONNECT);
  await deserted(server);
}

describe("clients' sockets", () => {
  it('carry requests and replies by Node alone', () => ordeal(null, 0));
  it('carry them by Node alone while the service stays awake', () =>
    ordeal(null, SPIN_MICROSECONDS));
});

describe.runIf(calls !== undefined)("clients' sockets with system calls of their own", () => {
  const real = calls as SocketCalls;

  it('carry requests and replies', () => ordeal(real, 0));
  it('carry them over a Unix socket', () =>
    ordeal(real, SPIN_MICROSECONDS, join(workspace(), 'socket')));
  it('carry them while the service stays awake and asks them itself', async () => {
    let receivedCount = 0;
    const counting = {
      ...real,
      receive: (fd: number, buffer: Buffer) => {
        const count = real.receive(fd, buffer);
        if (count > 0) receivedCount++;
        return count;
      },
    };
    await ordeal(counting, SPIN_MICROSECONDS);
    expect(receivedCount).toBeGreaterThan(ROUND_COUNT);
  });
  it('carry replies whole and in order, however little is taken at once', async () => {
    await ordeal(reluctant(real, randomOf(3)), 0);
    await ordeal(reluctant(real, randomOf(4)), SPIN_MICROSECONDS);
  });
  it('serve a client whose socket has no second descriptor', () =>
    ordeal({ ...real, duplicate: () => -1 }, SPIN_MICROSECONDS));
  it('tell once that no descriptor is left', async () => {
    let [isLeft, toldCount] = [true, 0];
    const { address } = await startServer({
      socketCalls: { ...real, duplicate: (fd) => (isLeft ? real.duplicate(fd) : -1) },
      onNoDescriptor: () => toldCount++,
    });
    await SocketClient.ready(address);
    expect(toldCount).toBe(0);
    isLeft = false;
    for (let i = 0; i < 2; i++) await SocketClient.ready(address);
    expect(toldCount).toBe(1);
  });
  it('may hold 1 MiB of a reply if they are Unix sockets', async () => {
    const enlarged: number[] = [];
    const { address, server } = await startServer({
      socketCalls: { ...real, enlarge: (_, bytes) => enlarged.push(bytes) },
    });
    await SocketClient.ready(address);
    expect(enlarged).toEqual([]);
    const path = join(workspace(), 'socket');
    await server.listen({ kind: 'unix', path });
    await SocketClient.ready({ path });
    expect(enlarged).toEqual([MIB]);
  });
  it('see that a client has gone while replies to it are held', async () => {
    let isGone = false;
    let refusedCount = 0;
    const { address, server, buffers } = await startServer({
      spinMicroseconds: ENDLESS_SPIN_MICROSECONDS,
      // Nothing is taken before the client is gone; then the system says so.
      socketCalls: {
        ...real,
        send: (fd, segments) => {
          if (isGone) return real.send(fd, segments);
          refusedCount++;
          return -EAGAIN;
        },
      },
    });
    const client = await SocketClient.ready(address);
    /** What is held is offered in every turn. */
    const refused = async (): Promise<void> => {
      const before = refusedCount;
      while (refusedCount < before + 99) await new Promise((resolve) => setImmediate(resolve));
    };
    client.socket.write(client.request({ command: FLUSH }));
    await refused();
    // No more of its requests are taken, so that reading finds nothing out.
    client.socket.write(client.request({ command: READ, offset: 0, length: 8 * MIB }));
    while (buffers.lentBytes === 0) await new Promise((resolve) => setImmediate(resolve));
    await refused();
    client.socket.resetAndDestroy();
    await client.isClosed;
    isGone = true;
    await deserted(server);
  });
  it('give back what is held for a client that is dropped', async () => {
    let isTaking = true;
    const { address, server, buffers } = await startServer({
      spinMicroseconds: ENDLESS_SPIN_MICROSECONDS,
      socketCalls: {
        ...real,
        send: (fd, segments) => (isTaking ? real.send(fd, segments) : -EAGAIN),
      },
    });
    const client = await SocketClient.ready(address);
    await client.ask({ command: FLUSH });
    isTaking = false;
    client.socket.write(client.request({ command: READ, length: 64 * KIB }));
    for (let turn = 0; turn < 100; turn++) await new Promise((resolve) => setImmediate(resolve));
    expect(buffers.lentBytes).toBeGreaterThan(0);
    server.abort();
    await deserted(server);
    expect(buffers.lentBytes).toBe(0);
  });
  it('see a client go in the middle of a spin', async () => {
    const { address, server } = await startServer({ spinMicroseconds: ENDLESS_SPIN_MICROSECONDS });
    const client = await SocketClient.ready(address);
    await client.ask({ command: READ, offset: 0, length: 4096 });
    client.socket.destroy();
    await deserted(server);
  });
});
