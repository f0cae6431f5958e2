import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { describe, expect, it, test } from 'vitest';
import { type AdminFixture, MIB, page, startAdmin } from './fixture.ts';

const HEALTH = 'GET /healthz HTTP/1.1\r\n';
const IMPATIENT = { headersMs: 100, requestMs: 200, idleMs: 600_000 };

/** A connection, and all that comes over it until it ends. */
async function dial({ place }: AdminFixture): Promise<{ socket: Socket; rest: Promise<string> }> {
  const socket = connect('port' in place ? place.port : 0, '127.0.0.1');
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  let text = '';
  socket.setEncoding('latin1').on('data', (piece: string) => {
    text += piece;
  });
  return { socket, rest: once(socket, 'close').then(() => text) };
}

/** Resolves when no body is held any more: the server hears of an end in its own time. */
async function untilReleased({ admin }: AdminFixture): Promise<void> {
  while (admin.bufferBytes > 0) await new Promise((resolve) => setImmediate(resolve));
}

describe('JSON', () => {
  it.each([
    ['{"bytes": }', 400, 'not JSON'],
    ['', 400, 'not JSON'],
    ['{"bytes": 1, "byts": 2}', 400, 'byts'],
    ['{"bytes": "1"}', 400, 'bytes: '],
    ['{"bytes": 1e300}', 400, 'bytes: '],
    ['{"bytes": -1}', 400, 'bytes: '],
    ['{}', 400, 'bytes: '],
    [`{"bytes": 1${' '.repeat(20_000)}}`, 413, 'at most 16384'],
  ])('that reads %.30s is refused', async (text, expected, message) => {
    const { ask } = await startAdmin();
    const headers = { 'content-type': 'application/json' };
    const { status, json } = await ask('POST', '/v1/shrink', { bytes: Buffer.from(text), headers });
    expect([status, json.detail]).toEqual([expected, expect.stringContaining(message)]);
  });

  it('is said to be JSON', async () => {
    const { ask } = await startAdmin();
    const bytes = Buffer.from('{"bytes": 1}');
    const status = async (type: string): Promise<number> => {
      const headers = { 'content-type': type };
      return (await ask('POST', '/v1/shrink', { bytes, headers })).status;
    };
    expect(await status('text/plain')).toBe(415);
    expect(await status('application/jsonp')).toBe(415);
    expect(await status('application/json; charset=utf-8')).toBe(200);
  });
});

test('a path that is not there, a method it has not, a query it has not: a sentence each', async () => {
  const { ask } = await startAdmin();
  expect((await ask('GET', '/v1/state')).json).toMatchObject({
    status: 404,
    detail: expect.stringContaining('/openapi.json'),
  });
  expect((await ask('POST', '/v1/status')).headers.allow).toBe('GET, HEAD');
  expect((await ask('GET', '/v1/status?verbose=1')).json.detail).toContain('it takes none');
  expect((await ask('GET', '/v1/status/')).status).toBe(404);
  expect((await ask('GET', '/v1/exports/..%2Fdisk')).status).toBe(404);
  expect((await ask('PUT', '/v1/grants/a%20b/c')).status).toBe(400);
});

test('the whole URL in the place of the path is as good', async () => {
  const { send, url } = await startAdmin();
  const { host } = new URL(url);
  const answered = async (target: string) => (await send('GET', target)).status;
  expect(await answered(`http://${host}/v1/status`)).toBe(200);
  expect(await answered(`HTTP://${host}?verbose=1`)).toBe(200);
  expect(await answered(`http://${host}/v1/status?verbose=1`)).toBe(400);
  expect(await answered(`http://${host}/v1/state`)).toBe(404);
  expect(await answered(`ftp://${host}/v1/status`)).toBe(404);
});

test('the longest name that an export can have fits into a request', async () => {
  const { ask } = await startAdmin();
  const { status, json } = await ask('GET', `/v1/exports/${encodeURIComponent('ä'.repeat(2048))}`);
  expect([status, json.detail]).toEqual([
    404,
    expect.stringMatching(/there is no export .*; tmem ctl exports and/),
  ]);
});

test('a body where none is taken, and a body without a length, are refused', async () => {
  const admin = await startAdmin();
  const { status } = await admin.ask('POST', '/v1/freeze', { bytes: Buffer.from('{}') });
  expect(status).toBe(400);
  const { socket, rest } = await dial(admin);
  socket.write(
    'POST /v1/shrink HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n' +
      'transfer-encoding: chunked\r\n\r\nb\r\n{"bytes":1}\r\n0\r\n\r\n',
  );
  expect(await rest).toMatch(/^HTTP\/1.1 411 [\s\S]*Content-Length/);
});

test.each([
  ['PUT', '/objects/1/pages/0', ''],
  ['PUT', '/objects/1', ''],
  ['PUT', '/share', 'content-type: application/json\r\n'],
])('%s %s without a body and without its length is refused for the length', async (...asked) => {
  const admin = await startAdmin();
  const { path, key } = await admin.makePool();
  const [method, rest, header] = asked;
  const client = await dial(admin);
  const head = `${method} ${path}${rest} HTTP/1.1\r\nhost: localhost\r\ntmem-pool-key: ${key}\r\n`;
  client.socket.write(`${head}${header}connection: close\r\n\r\n`);
  expect(await client.rest).toMatch(/^HTTP\/1.1 411 [\s\S]*Content-Length/);
});

test.each([
  ['is none', 'garbage\r\n\r\n', 400],
  ['has a length below 0', 'PUT /v1/memory HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n', 400],
  [
    'has long headers',
    `GET /v1/status HTTP/1.1\r\nhost: x\r\nx: ${'x'.repeat(17_000)}\r\n\r\n`,
    431,
  ],
  ['names no host', 'GET /v1/status HTTP/1.1\r\nconnection: close\r\n\r\n', 400],
  ['names two hosts', `${HEALTH}host: localhost\r\nhost: x\r\nconnection: close\r\n\r\n`, 400],
  ['expects what nobody knows', `${HEALTH}host: x\r\nexpect: a cake\r\n\r\n`, 417],
  ['is for a proxy', 'CONNECT localhost:22 HTTP/1.1\r\nhost: localhost:22\r\n\r\n', 405],
  ['does not come whole', 'GET /v1/status HTTP/1.1\r\nhost: ', 408],
])('a request that %s is answered a problem document', async (_, sent, expected) => {
  const admin = await startAdmin({ timeouts: IMPATIENT });
  const { socket, rest } = await dial(admin);
  socket.write(sent);
  const [head = '', body = ''] = (await rest).split('\r\n\r\n');
  expect(head).toContain('content-type: application/problem+json');
  expect(head).toContain(`content-length: ${body.length}\r\n`);
  expect(JSON.parse(body)).toMatchObject({ status: expected, detail: expect.any(String) });
});

test('a body that does not come is not waited for', async () => {
  const admin = await startAdmin({ timeouts: IMPATIENT });
  const { path, key } = await admin.makePool();
  for (const sent of ['', 'x'.repeat(100)]) {
    const { socket, rest } = await dial(admin);
    socket.write(
      `PUT ${path}/objects/1/pages/0 HTTP/1.1\r\nhost: localhost\r\ntmem-pool-key: ${key}\r\n` +
        `content-length: 4096\r\n\r\n${sent}`,
    );
    expect(await rest).toMatch(/^HTTP\/1.1 408 /);
  }
  await untilReleased(admin);
  expect((await admin.ask('GET', `${path}/objects/1`, { key })).status).toBe(404);
});

test('who stops in the middle of a body hears that it did not come in time', async () => {
  const admin = await startAdmin({
    timeouts: { headersMs: 600_000, requestMs: 600_000, idleMs: 100 },
  });
  const { path, key } = await admin.makePool();
  const head = `PUT ${path}/objects/1/pages/0 HTTP/1.1\r\nhost: localhost\r\ntmem-pool-key: ${key}\r\n`;
  for (const sent of ['', 'x'.repeat(100)]) {
    const { socket, rest } = await dial(admin);
    socket.write(`${head}content-length: 4096\r\n\r\n${sent}`);
    expect(await rest).toMatch(/^HTTP\/1.1 408 /);
  }
  await untilReleased(admin);
});

test('a body that does not come behind its refusal brings no second answer', async () => {
  const { socket, rest } = await dial(await startAdmin({ timeouts: IMPATIENT }));
  socket.write('PUT /v1/nothing HTTP/1.1\r\nhost: localhost\r\ncontent-length: 4096\r\n\r\n');
  expect((await rest).match(/HTTP\/1.1 \d+/g)).toEqual(['HTTP/1.1 404']);
});

test('who takes it for a proxy behind a request does not get that for its answer', async () => {
  const { socket, rest } = await dial(await startAdmin());
  const about = 'HTTP/1.1\r\nhost: localhost\r\n\r\n';
  socket.write(`GET /metrics ${about}CONNECT localhost:22 ${about}`);
  expect(await rest).toBe('');
});

test('who asks before sending a long body is refused before it is sent', async () => {
  const admin = await startAdmin();
  const { path, key } = await admin.makePool();
  const head = `PUT ${path}/objects/1 HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\n`;
  const refused = await dial(admin);
  refused.socket.write(`${head}tmem-pool-key: ${key}\r\ncontent-length: 99999744\r\n\r\n`);
  expect(await refused.rest).toMatch(/^HTTP\/1.1 413 /);
  const taken = await dial(admin);
  taken.socket.write(
    `${head}tmem-pool-key: ${key}\r\ncontent-length: 4096\r\nconnection: close\r\n\r\n`,
  );
  await once(taken.socket, 'data');
  taken.socket.write(page(1));
  expect(await taken.rest).toMatch(/^HTTP\/1.1 100 Continue\r\n\r\nHTTP\/1.1 200 /);
});

test('who closes behind a long body hears all the same that it is refused', async () => {
  const { socket, rest } = await dial(await startAdmin());
  const failed = once(socket, 'error').then(([cause]) => cause);
  const head = `PUT /v1/nothing HTTP/1.1\r\nhost: localhost\r\ncontent-length: ${4 * MIB}\r\n`;
  socket.write(`${head}connection: close\r\n\r\n`);
  await once(socket, 'data');
  socket.write(Buffer.alloc(4 * MIB));
  expect(await Promise.race([rest, failed])).toMatch(/^HTTP\/1.1 404 /);
});

test('bodies under way are held within bounds, and who comes too late hears so', async () => {
  const admin = await startAdmin();
  const { path, key } = await admin.makePool();
  const slow = [];
  for (let i = 0; i < 2; i++) {
    const { socket, rest } = await dial(admin);
    const announced = `tmem-pool-key: ${key}\r\ncontent-length: ${4 * MIB}\r\n`;
    const ask = 'expect: 100-continue\r\n';
    socket.write(`PUT ${path}/objects/${i} HTTP/1.1\r\nhost: localhost\r\n${announced}${ask}\r\n`);
    await once(socket, 'data'); // it is to go on: so the bytes are set aside
    slow.push({ socket, rest });
  }
  const bytes = Buffer.alloc(4 * MIB);
  const late = await admin.ask('PUT', `${path}/objects/3`, { key, bytes });
  expect([late.status, late.headers['retry-after']]).toEqual([503, '1']);
  for (const { socket, rest } of slow) {
    socket.destroy();
    await rest;
  }
  await untilReleased(admin);
  expect((await admin.ask('PUT', `${path}/objects/3`, { key, bytes })).status).toBe(200);
});

test('a pool that ends while a body for it comes takes nothing any more', async () => {
  const admin = await startAdmin();
  const { path, key } = await admin.makePool();
  const { socket, rest } = await dial(admin);
  socket.write(
    `PUT ${path}/objects/1/pages/0 HTTP/1.1\r\nhost: localhost\r\ntmem-pool-key: ${key}\r\n` +
      'content-length: 4096\r\nconnection: close\r\nexpect: 100-continue\r\n\r\n',
  );
  await once(socket, 'data');
  await admin.ask('DELETE', path, { key });
  socket.write(page(1));
  expect(await rest).toContain('HTTP/1.1 404 ');
});

test('a defect is 500 without a word of how it is built, and with one in the log', async () => {
  const { ask, lines } = await startAdmin({
    parts: {
      snapshot: () => {
        throw new RangeError('secret detail');
      },
    },
  });
  const { status, bytes } = await ask('POST', '/v1/snapshot');
  expect(status).toBe(500);
  expect(bytes.toString()).not.toContain('secret');
  expect(lines.at(-1)).toContain('secret detail');
});

test('metrics that cannot be read are a defect of the service too', async () => {
  const bufferBytes = (): number => {
    throw new RangeError('secret detail');
  };
  const { send, lines } = await startAdmin({ parts: { memory: { limitBytes: MIB, bufferBytes } } });
  const { status, type, bytes } = await send('GET', '/metrics');
  expect([status, type]).toEqual([500, 'application/problem+json']);
  expect(bytes.toString()).not.toContain('secret');
  expect(lines.at(-1)).toContain('secret detail');
});

test('a service that is stopping takes nothing any more, and still tells', async () => {
  let isStopping = false;
  const { ask, makePool } = await startAdmin({ parts: { isStopping: () => isStopping } });
  const { path, key } = await makePool({ kind: 'persistent' });
  await ask('PUT', `${path}/objects/1/pages/0`, { key, bytes: page(1) });
  isStopping = true;
  const late = await ask('PUT', `${path}/objects/1/pages/0`, { key, bytes: page(2) });
  expect(late.json).toMatchObject({ status: 503, title: 'Service Unavailable' });
  expect((await ask('GET', `${path}/objects/1/pages/0`, { key })).bytes.equals(page(1))).toBe(true);
  expect((await ask('GET', '/v1/status')).json.isStopping).toBe(true);
});
