import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { connect } from 'node:net';
import { expect, test } from 'vitest';
import { AuditLog } from '../../src/admin/http/audit-log.ts';
import { page, startAdmin } from './fixture.ts';

test('what changes something is noted with who, what and how it ended; what only looks is not', async () => {
  const { ask, send, lines } = await startAdmin();
  await ask('GET', '/v1/status');
  await ask('POST', '/v1/freeze');
  await ask('PUT', '/v1/exports/disk/share', { json: { weight: 0 } });
  await send('GET', '/v1/status', { headers: { host: 'evil.example' } });
  expect(lines).toEqual([
    'admin: POST /v1/freeze from 127.0.0.1: 200',
    expect.stringMatching(/^admin: PUT \/v1\/exports\/disk\/share from 127.0.0.1: 400 .*weight/),
    expect.stringMatching(/^admin: GET \/v1\/status from 127.0.0.1: 403 evil.example/),
  ]);
});

test('who hangs up is noted all the same', async () => {
  const { place, lines } = await startAdmin();
  const socket = connect('port' in place ? place.port : 0, '127.0.0.1');
  const head = 'PUT /v1/memory HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n';
  socket.write(`${head}Content-Length: 2\r\nExpect: 100-continue\r\n\r\n`);
  await once(socket, 'data'); // it is being served
  socket.destroy();
  while (lines.length === 0) await new Promise((resolve) => setImmediate(resolve));
  expect(lines).toEqual([
    expect.stringMatching(/^admin: PUT \/v1\/memory from 127.0.0.1: 400 the body ended early/),
  ]);
});

test('a key or a token is never noted, nor what a client does with pages of its own', async () => {
  const token = '0123456789abcdef';
  const { ask, send, lines, makePool } = await startAdmin({ token });
  const { path, key } = await makePool();
  await ask('PUT', `${path}/objects/1/pages/0`, { key, bytes: page(1) });
  await ask('GET', `${path}/objects/1/pages/0`, { key: 'f'.repeat(32) });
  await send('GET', '/v1/status', { headers: { authorization: 'Bearer wrong-wrong-wrong' } });
  expect(lines.map((line) => line.split(': ')[1])).toEqual([
    'POST /v1/pools from 127.0.0.1',
    `GET ${path}/objects/1/pages/0 from 127.0.0.1`,
    'GET /v1/status from 127.0.0.1',
  ]);
  for (const secret of [key, token, 'wrong-wrong', 'ffff']) {
    expect(lines.join('\n')).not.toContain(secret);
  }
});

test('a key of a pool that is sent where none is asked for hides nothing', async () => {
  const { ask, lines } = await startAdmin();
  await ask('POST', '/v1/freeze', { key: 'f'.repeat(32) });
  await ask('PUT', '/v1/memory', { key: 'f'.repeat(32), json: {} });
  expect(lines).toEqual([
    'admin: POST /v1/freeze from 127.0.0.1: 200',
    expect.stringMatching(/^admin: PUT \/v1\/memory from 127.0.0.1: 400 /),
  ]);
});

test('what a client asks wrongly of its pool is not noted', async () => {
  const { ask, lines, makePool } = await startAdmin();
  const { path, key } = await makePool();
  await ask('PUT', `${path}/objects/1/pages/x`, { key, bytes: page(1) });
  expect(lines).toHaveLength(1); // that it made the pool
});

test('lines come at a bounded rate, and what was left out is counted', () => {
  let nowMs = 0;
  const lines: string[] = [];
  const audit = new AuditLog(
    (line) => lines.push(line),
    () => nowMs,
  );
  const request = { method: 'POST', url: '/v1/freeze', socket: {} } as IncomingMessage;
  for (let i = 0; i < 100; i++) audit.note(request, '200');
  expect(lines.length).toBe(30);
  nowMs += 1000;
  for (let i = 0; i < 5; i++) audit.note(request, '200');
  expect(lines.slice(30)).toEqual([
    'admin: 70 more calls were not noted here',
    'admin: POST /v1/freeze from the Unix socket: 200',
    'admin: POST /v1/freeze from the Unix socket: 200',
  ]);
});

test('a long request is noted in part', () => {
  const lines: string[] = [];
  const audit = new AuditLog((line) => lines.push(line));
  const url = `/v1/${'x'.repeat(5000)}`;
  audit.note({ method: 'PUT', url, socket: {} } as IncomingMessage, '404');
  expect(lines[0]?.length).toBeLessThan(300);
});

test('what a client writes stays on its line', async () => {
  const { ask, lines } = await startAdmin();
  await ask('POST', '/v1/shrink', { json: { 'x\nadmin: all is well': 1, bytes: 1 } });
  expect(lines).toHaveLength(1);
  expect(lines[0]).toMatch(/^admin: POST [^\n]*x\?admin: all is well/);
});
