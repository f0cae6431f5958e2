import { createServer } from 'node:net';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { type LiveOptions, replayLive } from '../../../src/replay/live/live.ts';
import { deserted, startServer } from '../../nbd/server-fixture.ts';
import { workspace } from '../../tools/workspace.ts';
import { type Recorded, traceOf } from './recorded.ts';

const MIB = 1024 * 1024;

type Server = Awaited<ReturnType<typeof startServer>>;

function optionsFor({ address }: Server, given: Partial<LiveOptions> = {}): LiveOptions {
  return {
    target: { address: { kind: 'tcp', ...address }, exportName: '' },
    ...{ connections: 1, depth: 32, speed: undefined, allowsWrites: false, wraps: false },
    signal: new AbortController().signal,
    ...given,
  };
}

/** What the server counted, by command and error. */
function countsOf({ server, target }: Server): Record<string, number> {
  const counts: Record<string, number> = {};
  server.statistics.requestsOf(target.name).forEach((command, errno, count) => {
    if (command !== 'disconnect') counts[errno === 0 ? command : `${command} ${errno}`] = count;
  });
  return counts;
}

const MIXED: readonly Recorded[] = Array.from({ length: 500 }, (_, i) => ({
  op: (['read', 'write', 'trim', 'zero', 'flush'] as const)[i % 5] ?? 'read',
  offset: i * 8192,
  atUs: i,
}));

test('every request reaches the server once', async () => {
  const server = await startServer();
  const trace = await traceOf(MIXED);
  const given = { allowsWrites: true, connections: 3 };
  const result = await replayLive(trace, optionsFor(server, given));
  expect(countsOf(server)).toEqual({
    read: 100,
    write: 100,
    trim: 100,
    write_zeroes: 100,
    flush: 100,
  });
  expect(server.server.statistics).toMatchObject({ accepted: 3, violations: 0 });
  expect(result).toMatchObject({
    ...{ requests: 500, errors: 0, wrapped: 0, lagUs: null, plannedSeconds: null },
    leftOut: { changes: 0, unsupported: 0, empty: 0 },
  });
  for (const op of ['read', 'write', 'trim', 'zero'] as const) {
    expect(result.ops[op]).toMatchObject({ requests: 100, bytes: 100 * 4096, errors: {} });
    expect(result.ops[op].latencyUs.max).toBeGreaterThan(0);
  }
});

test('without leave to write only reads are replayed, and the rest is counted', async () => {
  const server = await startServer();
  const { requests, leftOut } = await replayLive(await traceOf(MIXED), optionsFor(server));
  expect({ requests, changes: leftOut.changes }).toEqual({ requests: 100, changes: 400 });
  expect(countsOf(server)).toEqual({ read: 100 });
});

test('requests are sent when they were recorded, divided by the speed', async () => {
  const server = await startServer();
  const trace = await traceOf([
    { op: 'read' },
    { op: 'read', atUs: 120_000 },
    { op: 'read', atUs: 240_000 },
  ]);
  const { elapsedSeconds, plannedSeconds, lagUs } = await replayLive(
    trace,
    optionsFor(server, { speed: 4 }),
  );
  expect(plannedSeconds).toBeCloseTo(0.06, 6);
  expect(elapsedSeconds).toBeGreaterThanOrEqual(0.06);
  expect(lagUs?.max).toBeGreaterThan(0);
});

test('what is left out at the end of a trace is no part of the time that was planned', async () => {
  const server = await startServer();
  const trace = await traceOf([
    { op: 'read' },
    { op: 'read', atUs: 40_000 },
    { op: 'write', atUs: 90_000_000 },
  ]);
  const { elapsedSeconds, plannedSeconds } = await replayLive(
    trace,
    optionsFor(server, { speed: 4 }),
  );
  expect(plannedSeconds).toBeCloseTo(0.01, 6);
  expect(elapsedSeconds).toBeGreaterThanOrEqual(0.01);
});

test('a loop that is out of room is late, and says how often', async () => {
  const server = await startServer();
  const trace = await traceOf(
    Array.from({ length: 64 }, (_, i) => ({ op: 'read', offset: i * 4096 })),
  );
  const { stalls, requests } = await replayLive(trace, optionsFor(server, { speed: 1, depth: 1 }));
  expect([requests, stalls]).toEqual([64, 63]);
});

test('what is beyond the end is refused before anything is sent, or folded', async () => {
  const server = await startServer();
  const beyond = [{ op: 'read', offset: 8 * MIB - 512, length: 1024 }, { op: 'read' }] as const;
  await expect(replayLive(await traceOf(beyond), optionsFor(server))).rejects.toThrow(/--wrap/);
  expect(countsOf(server)).toEqual({});
  const { wrapped, errors } = await replayLive(
    await traceOf([...beyond, { op: 'read', offset: 999 * MIB + 512, length: 16 * MIB }]),
    optionsFor(server, { wraps: true }),
  );
  expect({ wrapped, errors, counts: countsOf(server) }).toEqual({
    ...{ wrapped: 2, errors: 0, counts: { read: 3 } },
  });
});

test('a request longer than the server takes is several', async () => {
  const server = await startServer({}, 80 * MIB);
  const { requests, ops } = await replayLive(
    await traceOf([{ op: 'read', length: 80 * MIB }]),
    optionsFor(server, { depth: 2 }),
  );
  expect({ requests, sent: ops.read.requests, bytes: ops.read.bytes }).toEqual({
    ...{ requests: 1, sent: 3, bytes: 80 * MIB },
  });
});

test('a server that is not there is said', async () => {
  const server = await startServer();
  const trace = await traceOf(MIXED);
  await server.server.stop();
  await expect(replayLive(trace, optionsFor(server))).rejects.toThrow(
    /cannot reach the server at 127\.0\.0\.1:\d+: nothing listens/,
  );
});

test.each([
  [[{ op: 'write' }], {}, /no reads.*--allow-writes/],
  [[{ op: 'read' }, { op: 'read', volume: 1 }], { exportName: 'disk' }, /2 volumes/],
  [[{ op: 'read' }, { op: 'read', volume: 1 }], {}, /no export "other"/],
] as const)('%j is refused with advice', async (requests, target, message) => {
  const server = await startServer();
  const trace = await traceOf(requests, [server.target.name, 'other']);
  const options = optionsFor(server);
  const given = { ...options, target: { ...options.target, ...target } };
  await expect(replayLive(trace, given)).rejects.toThrow(message);
  await deserted(server.server);
});

test.each(['', 'disk'])('volumes that nothing is asked of need no export: "%s"', async (named) => {
  const server = await startServer();
  const trace = await traceOf([{ op: 'read', volume: 1 }], ['unused', server.target.name]);
  const options = optionsFor(server);
  const exportName = named === '' ? '' : server.target.name;
  const given = { ...options, target: { ...options.target, exportName } };
  const { requests, errors } = await replayLive(trace, given);
  expect({ requests, errors }).toEqual({ requests: 1, errors: 0 });
});

test('a replay that is given up ends at once, and hangs up', async () => {
  const server = await startServer();
  const controller = new AbortController();
  const trace = await traceOf([{ op: 'read' }, { op: 'read', atUs: 3600e6 }]);
  const ended = replayLive(trace, optionsFor(server, { speed: 1, signal: controller.signal }));
  const { requests } = server.server.statistics;
  while (requests.size === 0) await new Promise((resolve) => setImmediate(resolve));
  controller.abort();
  await expect(ended).rejects.toThrow(/given up/);
});

test('a replay that is given up while a server keeps silent at the handshake ends at once', async () => {
  const server = createServer();
  const path = join(workspace(), 'silent.sock');
  await new Promise<void>((resolve) => server.listen(path, resolve));
  onTestFinished(() => void server.close());
  const controller = new AbortController();
  const reached = new Promise<void>((resolve) => {
    server.on('connection', (socket) => {
      socket.on('error', () => undefined).resume();
      resolve();
    });
  });
  const options = optionsFor(await startServer(), { signal: controller.signal });
  const target = { address: { kind: 'unix', path }, exportName: '' } as const;
  const ended = expect(replayLive(await traceOf(MIXED), { ...options, target })).rejects.toThrow(
    /given up/,
  );
  await reached;
  controller.abort();
  await ended;
});
