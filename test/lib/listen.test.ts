import { fork } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, statSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Server } from 'node:net';
import path from 'node:path';
import { afterEach, expect, test, vi } from 'vitest';
import { listenAt, stopListening } from '../../src/lib/listen.ts';
import type { ListenAddress } from '../../src/lib/listen-address.ts';
import { temporaryDirectory } from '../storage/temporary-files.ts';

const servers: Server[] = [];

afterEach(() => {
  for (const server of servers.splice(0)) server.close();
});

function listen(address: ListenAddress): Promise<ListenAddress> {
  const server = createServer((socket) => socket.destroy());
  servers.push(server);
  return listenAt(server, address, '--listen');
}

const unix = (name = 's'): { kind: 'unix'; path: string } => ({
  kind: 'unix',
  path: path.join(temporaryDirectory(), name),
});

/** Leaves a socket file as a killed process does. */
async function abandon(socketPath: string): Promise<void> {
  const script = path.join(path.dirname(socketPath), 'victim.cjs');
  writeFileSync(
    script,
    "require('net').createServer().listen(process.argv[2], () => process.send(0))",
  );
  const victim = fork(script, [socketPath]);
  await once(victim, 'message');
  victim.kill('SIGKILL');
  await once(victim, 'exit');
}

test('port 0 becomes the port in force', async () => {
  const address = { kind: 'tcp', host: '127.0.0.1', port: 0 } as const;
  const bound = await listen(address);
  expect(bound).toEqual({ ...address, port: expect.toSatisfy((port: number) => port > 0) });
});

test('a socket that a killed process left behind is replaced', async () => {
  const address = unix();
  await abandon(address.path);
  expect(statSync(address.path).isSocket()).toBe(true);
  await listen(address);
  const client = connect(address.path);
  await once(client, 'connect');
  client.destroy();
});

test('a socket at which somebody listens is busy, and stays theirs', async () => {
  const address = unix();
  await listen(address);
  await expect(listen(address)).rejects.toMatchObject({
    kind: 'busy',
    message: `cannot listen at unix:${address.path}: it is in use; stop what listens there or choose another with --listen`,
  });
  const client = connect(address.path);
  await once(client, 'connect');
  client.destroy();
});

test('of several that replace an old socket at once one has it, and the others say so', async () => {
  const address = unix();
  for (let round = 0; round < 5; round++) {
    await abandon(address.path);
    const outcomes = await Promise.allSettled(Array.from({ length: 6 }, () => listen(address)));
    const refused = outcomes.flatMap((one) => (one.status === 'rejected' ? [one.reason] : []));
    expect(refused).toEqual(
      Array.from({ length: 5 }, () => expect.objectContaining({ kind: 'busy' })),
    );
    const client = connect(address.path);
    await once(client, 'connect');
    client.destroy();
    for (const server of servers.splice(0)) server.close();
  }
});

test('a file that is no socket is never removed', async () => {
  const file = unix();
  writeFileSync(file.path, 'precious');
  const link = unix();
  await abandon(`${file.path}2`);
  symlinkSync(`${file.path}2`, link.path);
  const cases = [[file, 'a file that is no socket'] as const, [link, 'a symbolic link'] as const];
  for (const [address, what] of cases) {
    await expect(listen(address)).rejects.toMatchObject({
      kind: 'busy',
      message: expect.stringContaining(`: ${what} is there; remove it or choose`),
    });
    expect(existsSync(address.path)).toBe(true);
  }
});

test('a busy port is busy', async () => {
  const bound = await listen({ kind: 'tcp', host: '127.0.0.1', port: 0 });
  await expect(listen(bound)).rejects.toMatchObject({
    kind: 'busy',
    message: expect.stringMatching(/^cannot listen at tcp:127.0.0.1:\d+: it is in use; stop what/),
  });
});

test.each<[string, ListenAddress, string, RegExp]>([
  ['a directory that is not there', { kind: 'unix', path: '/no/such/s' }, 'not-found', /make it/],
  ['a foreign address', { kind: 'tcp', host: '192.0.2.1', port: 0 }, 'usage', /no such address/],
  [
    'a descriptor that is no socket',
    { kind: 'fd', fd: 98765 },
    'usage',
    /fd:98765: LISTEN_FDS .* unset it$/,
  ],
])('%s is a mistake that one sentence explains', async (_, address, kind, message) => {
  await expect(listen(address)).rejects.toMatchObject({
    name: 'TmemError',
    kind,
    message: expect.stringMatching(message),
  });
});

test('who has no descriptor left hears how to have more, and not to go elsewhere', async () => {
  const server = createServer();
  const emfile = Object.assign(new Error('listen EMFILE: injected'), { code: 'EMFILE' });
  vi.spyOn(server, 'listen').mockImplementation(() => {
    process.nextTick(() => server.emit('error', emfile));
    return server;
  });
  const refused = listenAt(server, unix(), '--listen');
  await expect(refused).rejects.toThrow(/EMFILE.*; let it have more files open .*\(ulimit -n\)$/);
});

test('the socket file goes when the server is closed', async () => {
  const address = unix();
  await listen(address);
  expect(existsSync(address.path)).toBe(true);
  servers[0]?.close();
  expect(existsSync(address.path)).toBe(false);
});

test('who stops listening removes a socket of its own, and none that another has made there', async () => {
  const address = unix();
  await listen(address);
  unlinkSync(address.path);
  await listen(address);
  const [first, second] = servers.splice(0) as [Server, Server];
  stopListening(first);
  const client = connect(address);
  await once(client, 'connect');
  client.destroy();
  stopListening(second);
  expect(readdirSync(path.dirname(address.path))).toEqual([]);
});
