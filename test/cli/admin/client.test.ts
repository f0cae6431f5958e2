import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { z } from 'zod';
import { HttpAdminClient } from '../../../src/cli/admin/client.ts';
import { problem, type Route, ScriptedAdmin, type ScriptedAnswer } from '../scripted-admin.ts';

const PATH = '/v1/thing';
const THING = z.strictObject({ is: z.string(), size: z.int().max(3).optional() });

/** A client of a service that answers the one path as told. */
async function clientOf(answer: Route | ScriptedAnswer, token?: string) {
  const admin = await ScriptedAdmin.start({ [`GET ${PATH}`]: answer, [`PUT ${PATH}`]: answer });
  const client = new HttpAdminClient({ kind: 'unix', path: admin.socket }, token);
  return { admin, client };
}

test('a question has its body, its token and nothing that a browser would send', async () => {
  const { admin, client } = await clientOf({ json: { is: 'there' } }, 'secret');
  expect(await client.ask('PUT', PATH, THING, { body: { limitBytes: 7 } })).toEqual({
    is: 'there',
  });
  expect(admin.asked).toEqual([`PUT ${PATH} {"limitBytes":7}`]);
  expect(admin.questions[0]?.headers).toEqual({
    host: 'localhost',
    accept: 'application/json, application/problem+json',
    authorization: 'Bearer secret',
    'content-type': 'application/json',
    'content-length': '16',
    connection: 'close',
  });
});

test('an answer that says more, or larger numbers, is understood', async () => {
  const json = { is: 'there', size: 7, was: 'here' };
  const { client } = await clientOf({ json });
  expect(await client.ask('GET', PATH, THING)).toEqual(json);
});

test.each([
  [400, 'invalid'],
  [403, 'permission'],
  [404, 'not-found'],
  [409, 'busy'],
  [500, 'io'],
  [503, 'shutdown'],
  [507, 'no-space'],
])('a problem with status %i is told in its own words, as %s', async (status, kind) => {
  const { client } = await clientOf(problem(status, 'there is no pool 7;\nsee\u001b[2J\r\ntmem.'));
  const message = 'there is no pool 7; see\ufffd[2J tmem';
  await expect(client.ask('GET', PATH, THING)).rejects.toMatchObject({ kind, message });
});

test.each([
  [undefined, 'asks for a token'],
  ['wrong', 'does not know this token'],
])('a refused token %j is told with where to give one', async (token, what) => {
  const { client } = await clientOf(problem(401, 'unauthorized'), token);
  await expect(client.ask('GET', PATH, THING)).rejects.toMatchObject({
    kind: 'permission',
    message: `the service at ${client.place} ${what}; give it in --token-file or TMEM_TOKEN`,
  });
});

test.each<[string, ScriptedAnswer]>([
  ['a page', { type: 'text/html', text: '<p>hello' }],
  ['a page that is not there', { status: 404, type: 'text/plain', text: 'no' }],
  ['a redirection', { status: 302, json: {} }],
  ['half a document', { text: '{"a":' }],
  ['nothing', { status: 204 }],
  ['JSON of another program', { json: {} }],
  ['JSON of another form', { json: { is: 7 } }],
  ['null', { json: null }],
])('%s is not the answer of a tmem service', async (_, answer) => {
  const { client } = await clientOf(answer);
  await expect(client.ask('GET', PATH, THING)).rejects.toMatchObject({
    kind: 'unsupported',
    message: expect.stringMatching(/^what answers at unix:.* is not the admin API/),
  });
});

test('a failure without words is told by its status', async () => {
  const { client } = await clientOf({ status: 500, type: 'text/plain', text: 'oh' });
  await expect(client.ask('GET', PATH, THING)).rejects.toMatchObject({
    kind: 'io',
    message: expect.stringMatching(/failed with HTTP status 500/),
  });
});

test('an answer of more bytes than are read is refused', async () => {
  const { client } = await clientOf((_, response) => {
    response.writeHead(200, { 'content-type': 'application/json' });
    response.on('error', () => undefined);
    const more = (): void => {
      while (response.write(Buffer.alloc(1024 * 1024, ' ')));
    };
    response.on('drain', more);
    more();
    return undefined;
  });
  const message = expect.stringMatching(/its answer has more than 16777216 bytes/);
  await expect(client.ask('GET', PATH, THING)).rejects.toMatchObject({ kind: 'io', message });
});

test.each([
  ['no answer', () => undefined],
  [
    'half an answer',
    (_, response) => {
      response.writeHead(200, { 'content-type': 'application/json' });
      response.write('{');
      return undefined;
    },
  ],
] as [string, Route][])('%s in time is told as such', async (_, route) => {
  const { client } = await clientOf(route);
  const message = expect.stringMatching(/has not answered within 0.001 s/);
  const asking = client.ask('GET', PATH, THING, { timeoutMs: 1 });
  await expect(asking).rejects.toMatchObject({ kind: 'io', message });
});

test('an answer that is cut off is told as such', async () => {
  const { client } = await clientOf((_, response) => {
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': '9' });
    response.write('{', () => response.destroy());
    return undefined;
  });
  const message = expect.stringMatching(/it hung up; .*too many connections/);
  await expect(client.ask('GET', PATH, THING)).rejects.toMatchObject({ kind: 'io', message });
});

test('a question that is given up ends at once', async () => {
  const giveUp = new AbortController();
  const { client } = await clientOf(() => {
    giveUp.abort();
    return undefined;
  });
  const asking = client.ask('GET', PATH, THING, { signal: giveUp.signal });
  await expect(asking).rejects.toMatchObject({ kind: 'shutdown' });
});

test('a socket that is not there is told with how to start a service', async () => {
  const { admin, client } = await clientOf({});
  await admin.close();
  await expect(client.ask('GET', PATH, THING)).rejects.toMatchObject({
    kind: 'io',
    message:
      `cannot reach a tmem service at unix:${admin.socket}: there is no such socket; ` +
      'start it with tmem serve, or name its address with --admin',
  });
});

test('a port at which nobody listens is told with how to start a service', async () => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  const client = new HttpAdminClient({ kind: 'tcp', host: '127.0.0.1', port });
  await expect(client.ask('GET', PATH, THING)).rejects.toMatchObject({
    kind: 'io',
    message: expect.stringMatching(/^cannot reach .* at 127\.0\.0\.1:\d+: nothing listens there;/),
  });
});

test('a port that speaks another protocol is not a tmem service', async () => {
  const server = createServer((socket) => socket.resume().end('NBDMAGIC'));
  onTestFinished(() => new Promise((resolve) => server.close(() => resolve())));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const client = new HttpAdminClient({ kind: 'tcp', host: '127.0.0.1', port });
  await expect(client.ask('GET', PATH, THING)).rejects.toMatchObject({ kind: 'unsupported' });
});

test('a file in the place of the socket is told as such', async () => {
  const client = new HttpAdminClient({ kind: 'unix', path: join(import.meta.dirname, 'none/x') });
  await expect(client.ask('GET', PATH, THING)).rejects.toMatchObject({ kind: 'io' });
});
