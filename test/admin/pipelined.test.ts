import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import path from 'node:path';
import { expect, it } from 'vitest';
import type { AdminTimeouts } from '../../src/admin/server.ts';
import { temporaryDirectory } from '../storage/temporary-files.ts';
import { MIB, page, startAdmin } from './fixture.ts';

/** A server with a pool that holds an object, longer than a socket takes, and a connection to it. */
async function startWithObject(timeouts?: AdminTimeouts) {
  let statusCount = 0;
  const bufferBytes = (): number => statusCount++;
  // The buffers of a TCP connection would hold the object.
  const place = path.join(temporaryDirectory(), 'admin');
  const address = { kind: 'unix', path: place } as const;
  const memory = { limitBytes: 64 * MIB, bufferBytes };
  const admin = await startAdmin({ address, parts: { memory }, ...(timeouts && { timeouts }) });
  const pool = await admin.makePool();
  const object = `${pool.path}/objects/1`;
  await admin.ask('PUT', object, { key: pool.key, bytes: Buffer.alloc(2 * MIB, 'tmem') });
  const socket = connect(place);
  socket.on('error', () => undefined).setEncoding('latin1');
  await once(socket, 'connect');
  const head = (method: string, what: string, more = '') =>
    `${method} ${what} HTTP/1.1\r\nhost: localhost\r\ntmem-pool-key: ${pool.key}\r\n${more}\r\n`;
  return { admin, pool, object, socket, head, statuses: () => statusCount };
}

/** The status codes of the next answers, with nothing of these in the bodies. */
async function readStatuses(socket: Socket, count: number): Promise<string[]> {
  const statuses: string[] = [];
  let text = '';
  for await (const piece of socket) {
    text += piece;
    statuses.splice(0, statuses.length, ...(text.match(/(?<=HTTP\/1.1 )\d+/g) ?? []));
    if (statuses.length === count) break;
  }
  return statuses;
}

it('a get that is sent right behind a put sees what was put', async () => {
  const { pool, socket, head } = await startWithObject();
  const place = `${pool.path}/objects/2/pages/0`;
  socket.write(head('PUT', place, 'content-length: 4096\r\n'));
  socket.write(Buffer.concat([page(1), Buffer.from(head('GET', place))]));
  expect(await readStatuses(socket, 2)).toEqual(['200', '200']);
});

it('requests that are sent ahead are begun when the answer before them is out', async () => {
  const { object, socket, head, statuses } = await startWithObject();
  socket.write(head('GET', object) + head('GET', '/v1/status').repeat(16));
  await once(socket, 'readable');
  expect(statuses()).toBe(0);
  expect(await readStatuses(socket, 17)).toEqual(Array(17).fill('200'));
  expect(statuses()).toBe(16);
});

it('who sends too many requests ahead is hung up on, and others are served', async () => {
  const { admin, object, socket, head, statuses } = await startWithObject();
  const closed = once(socket.resume(), 'close');
  socket.write(head('GET', object) + head('GET', '/v1/status').repeat(17));
  await closed;
  expect(statuses()).toBe(0);
  expect((await admin.ask('GET', '/v1/status')).status).toBe(200);
});

it('what follows a request that closes the connection is not begun', async () => {
  const { object, socket, head, statuses } = await startWithObject();
  const closes = head('GET', object, 'connection: close\r\n');
  socket.write(closes + head('GET', '/v1/status'));
  expect(await readStatuses(socket, 2)).toEqual(['200']);
  expect(statuses()).toBe(0);
});

it('what follows a request whose refusal closes the connection is not begun', async () => {
  const { socket, head, statuses } = await startWithObject();
  const refused = head('PUT', '/v1/nothing', 'transfer-encoding: chunked\r\n');
  socket.write(`${refused}0\r\n\r\n${head('GET', '/v1/status')}`);
  expect(await readStatuses(socket, 2)).toEqual(['404']);
  expect(statuses()).toBe(0);
});

it('buffers of all requests that were sent ahead are given back when the client hangs up', async () => {
  const { admin, object, socket, head } = await startWithObject();
  socket.write(head('GET', object).repeat(3));
  await once(socket, 'readable');
  expect(admin.admin.bufferBytes).toBe(2 * MIB);
  socket.destroy();
  while (admin.admin.bufferBytes > 0) await new Promise((resolve) => setImmediate(resolve));
  expect((await admin.ask('GET', '/v1/status')).status).toBe(200);
});

it('what cannot be read behind requests leaves them their answers, and ends the connection', async () => {
  const { object, socket, head, statuses } = await startWithObject();
  socket.write(head('GET', object) + head('GET', '/v1/status'));
  await once(socket, 'readable');
  await new Promise<void>((resolve) => {
    socket.write('garbage\r\n\r\n', () => resolve());
  });
  expect(await readStatuses(socket, 3)).toEqual(['200', '200']);
  expect(statuses()).toBe(1);
});

it('a body that cannot be read leaves its answer to what was asked before it', async () => {
  const { object, pool, socket, head } = await startWithObject();
  const more = 'transfer-encoding: chunked\r\n';
  socket.write(head('GET', object) + head('PUT', `${pool.path}/objects/2`, more));
  await once(socket, 'readable');
  await new Promise<void>((resolve) => {
    socket.write('no length\r\n', () => resolve());
  });
  let text = '';
  for await (const piece of socket) text += piece;
  const [answer = '', body] = text.split('\r\n\r\n');
  expect(answer).toMatch(/^HTTP\/1.1 200 /);
  expect(body).toHaveLength(2 * MIB);
});

it('who takes no answer and stops in the middle of the next request is hung up on', async () => {
  const idle = { headersMs: 600_000, requestMs: 600_000, idleMs: 100 };
  const { admin, object, pool, socket, head } = await startWithObject(idle);
  const part = head('PUT', `${pool.path}/objects/2/pages/0`, 'content-length: 4096\r\n');
  socket.write(`${head('GET', object)}${part}x`);
  await once(socket, 'readable');
  while (admin.admin.bufferBytes > 0) await new Promise((resolve) => setImmediate(resolve));
});

it('requests that are read behind a hang-up are not begun, and keep no buffers', async () => {
  const { admin, socket, head } = await startWithObject();
  const more = 'content-type: application/json\r\ncontent-length: 20\r\n';
  const drain = `${head('POST', '/v1/exports/disk/drain', more)}{"timeoutSeconds":1}`;
  for (let count = 0; count < 4; count++) socket.write(drain);
  socket.destroy();
  for (let count = 0; count < 10; count++) await admin.ask('GET', '/v1/status');
  expect(admin.admin.bufferBytes).toBe(0);
});
