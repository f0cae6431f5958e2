import { once } from 'node:events';
import http from 'node:http';
import { connect } from 'node:net';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { AdminServer } from '../../src/admin/server.ts';
import type { ListenAddress } from '../../src/lib/listen-address.ts';
import { packageVersion } from '../../src/lib/package-version.ts';
import { ServerStatistics } from '../../src/nbd/statistics.ts';
import { createAdminServer } from '../../src/service/admin/admin.ts';
import { samplesOf, smallStack } from '../metrics/scraped.ts';
import { recordingsTo } from '../service/recording/quiet-recordings.ts';
import { temporaryDirectory } from '../storage/temporary-files.ts';
import { quietGovernor } from './quiet-governor.ts';

const LOOPBACK: ListenAddress = { kind: 'tcp', host: '127.0.0.1', port: 0 };

let admin: AdminServer;
let isStopping: boolean;

function newAdmin(token?: string): AdminServer {
  const tmem = smallStack();
  return createAdminServer({
    tmem,
    governor: quietGovernor(tmem),
    exports: [],
    server: new ServerStatistics(),
    memory: { limitBytes: 64 * 2 ** 20, bufferBytes: () => 0 },
    codecName: 'lz4 (native)',
    isStopping: () => isStopping,
    pageBytesMax: 8192,
    recordings: recordingsTo().recordings,
    token,
    log: () => undefined,
  });
}

beforeEach(() => {
  isStopping = false;
  admin = newAdmin();
});

afterEach(() => admin.close());

async function ask(url: string, method = 'GET') {
  const response = await fetch(url, { method });
  return { status: response.status, headers: response.headers, text: await response.text() };
}

test('/metrics answers what Prometheus scrapes', async () => {
  const { status, headers, text } = await ask(await admin.listen(LOOPBACK));
  expect(status).toBe(200);
  expect(headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
  const samples = samplesOf(text);
  expect(samples.get('tmem_memory_limit_bytes')).toBe(64 * 2 ** 20);
  expect(text).toContain(`node="${process.versions.node}",codec="lz4 (native)"} 1\n`);
  expect(text).toContain(`tmem_build_info{version="${packageVersion()}",`);
  expect(samples.get('process_resident_memory_bytes')).toBeGreaterThan(1024 * 1024);
  expect(samples.get('process_cpu_seconds_total')).toBeGreaterThan(0);
  expect(samples.get('process_start_time_seconds')).toBeLessThanOrEqual(Date.now() / 1000);
  expect(samples.get('nodejs_eventloop_lag_seconds')).toBeGreaterThan(0);
});

test('/readyz says when the service is stopping, /healthz does not mind', async () => {
  const base = (await admin.listen(LOOPBACK)).replace('/metrics', '');
  expect(await ask(`${base}/readyz`)).toMatchObject({ status: 200, text: 'ready\n' });
  isStopping = true;
  expect(await ask(`${base}/readyz`)).toMatchObject({ status: 503, text: 'stopping\n' });
  expect(await ask(`${base}/healthz`)).toMatchObject({ status: 200, text: 'ok\n' });
});

test('/ lists what there is, and a path that is not there says so', async () => {
  const base = (await admin.listen(LOOPBACK)).replace('/metrics', '');
  expect(await ask(`${base}/?q=1`)).toMatchObject({ status: 200, text: /\/metrics.*\/readyz/s });
  const { headers, text } = await ask(`${base}/metric`);
  expect(headers.get('content-type')).toBe('application/problem+json');
  expect(JSON.parse(text)).toEqual({
    title: 'Not Found',
    status: 404,
    detail: 'there is no /metric here; / and /openapi.json list what there is',
  });
});

test('HEAD has the length of the answer and no body, other methods are not allowed', async () => {
  const url = await admin.listen(LOOPBACK);
  const head = await ask(url, 'HEAD');
  expect(head).toMatchObject({ status: 200, text: '' });
  expect(Number(head.headers.get('content-length'))).toBeGreaterThan(1000);
  const post = await ask(url, 'POST');
  expect(post.status).toBe(405);
  expect(post.headers.get('allow')).toBe('GET, HEAD');
  expect(post.headers.get('content-type')).toBe('application/problem+json');
});

test('a Unix socket is served too, and its URL holds its path', async () => {
  const socketPath = path.join(temporaryDirectory(), 'a b.sock');
  const url = await admin.listen({ kind: 'unix', path: socketPath });
  expect(url).toBe(`http+unix://${encodeURIComponent(socketPath)}/metrics`);
  const request = http.get({ socketPath, path: '/healthz' });
  const [response] = await once(request, 'response');
  expect(response.statusCode).toBe(200);
  response.resume();
});

test('a wildcard address is shown as one that a browser finds', async () => {
  const open = newAdmin('0123456789abcdef');
  expect(await open.listen({ kind: 'tcp', host: '::', port: 0 })).toMatch(
    /^http:\/\/localhost:\d+\/metrics$/,
  );
  open.close();
});

test('a busy port is an error that names --admin', async () => {
  const { port } = new URL(await admin.listen(LOOPBACK));
  const second = newAdmin();
  await expect(second.listen({ ...LOOPBACK, port: Number(port) })).rejects.toMatchObject({
    kind: 'busy',
    message: `cannot listen at tcp:127.0.0.1:${port}: it is in use; stop what listens there or choose another with --admin`,
  });
  second.close();
});

// Left alone, the unfinished one would be closed as well, but only after its 10 s.
test('close hangs up on silent, idle and unfinished connections', { timeout: 5_000 }, async () => {
  const { port } = new URL(await admin.listen(LOOPBACK));
  const get = 'GET /healthz HTTP/1.1\r\nhost: x\r\n';
  const silent = connect(Number(port), '127.0.0.1');
  await once(silent, 'connect');
  const sockets = [silent];
  for (const request of [`${get}\r\n`, `${get}content-length: 9\r\n\r\n`]) {
    const socket = connect(Number(port), '127.0.0.1');
    sockets.push(socket);
    socket.write(request);
    const [answer] = await once(socket, 'data');
    expect(String(answer)).toMatch(/^HTTP\/1.1 200 OK/);
  }
  for (const socket of sockets) socket.resume().on('error', () => undefined);
  const closed = Promise.all(sockets.map((socket) => once(socket, 'close')));
  admin.close();
  await closed;
});

test('connections beyond the limit are turned away, and those there still served', async () => {
  const { port } = new URL(await admin.listen(LOOPBACK));
  const sockets = Array.from({ length: 32 }, () => connect(Number(port), '127.0.0.1'));
  await Promise.all(sockets.map((socket) => once(socket, 'connect')));
  const extra = connect(Number(port), '127.0.0.1');
  extra.on('error', () => undefined);
  await once(extra.resume(), 'close');
  sockets[31]?.write('GET /readyz HTTP/1.1\r\nhost: x\r\n\r\n');
  const [answer] = await once(sockets[31]!, 'data');
  expect(String(answer)).toMatch(/ready\n$/);
  for (const socket of sockets) socket.destroy();
});

test('/v1/status has the memory, every layer and every pool', async () => {
  const url = (await admin.listen(LOOPBACK)).replace('/metrics', '/v1/status');
  const response = await fetch(url);
  expect(response.headers.get('content-type')).toBe('application/json');
  expect(await response.json()).toMatchObject({
    version: packageVersion(),
    isStopping: false,
    isFrozen: false,
    codec: 'lz4 (native)',
    memory: { configuredLimitBytes: 64 * 2 ** 20, pressure: null },
    layers: [{ name: 'hot', puts: { stored: 0, frozen: 0 } }, { name: 'zcache' }],
    exports: [],
    pools: [],
  });
});
