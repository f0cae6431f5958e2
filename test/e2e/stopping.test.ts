import fs from 'node:fs';
import { expect, test } from 'vitest';
import { Command } from '../../src/nbd/protocol.ts';
import { RawClient, type RawRequest, requestBytes } from '../tools/raw-client.ts';
import { startServer } from '../tools/server.ts';
import { MIB, makeEmptyImage, makeImage, workspace } from '../tools/workspace.ts';

const SIZE = 32 * MIB;
const STOPPING = /stopping/;

/**
 * Sends a write whose payload is not all there yet. The read that goes before it, in the same
 * bytes, is answered when the server has taken both: from then on it has a request under way.
 */
async function beginWrite(
  client: RawClient,
  write: Omit<RawRequest, 'command'>,
  payload: Buffer,
): Promise<void> {
  const read = requestBytes({ command: Command.READ, length: 1, cookie: 99 });
  const begun = requestBytes({ ...write, command: Command.WRITE });
  await client.send(Buffer.concat([read, begun, payload]));
  expect(await client.reply(() => 1)).toMatchObject({ errno: 0, cookie: 99 });
}

test.each(['SIGTERM', 'SIGINT', 'SIGHUP'] as const)(
  '%s ends an idle server with 0',
  async (signal) => {
    const directory = workspace();
    const server = await startServer(directory, [makeImage(directory, MIB)]);
    server.signal(signal);
    expect(await server.ended).toMatchObject({ code: 0, signal: null, stderr: '' });
    expect(fs.existsSync(server.socket)).toBe(false);
  },
);

test('SIGTERM ends a server whose clients hold on and ask for nothing', async () => {
  const directory = workspace();
  const server = await startServer(directory, [makeImage(directory, MIB)]);
  const clients = [await RawClient.connect(server.socket), await RawClient.connect(server.socket)];
  await server.stop();
  for (const client of clients) await client.closed();
});

test('SIGTERM waits for a write that is under way, and answers it', async () => {
  const directory = workspace();
  const image = makeEmptyImage(directory, SIZE);
  const server = await startServer(directory, [image, '--verbose']);
  const client = await RawClient.connect(server.socket);
  const content = Buffer.alloc(MIB, 'tmem');
  const write = { offset: 4096, length: MIB, cookie: 7 };
  await beginWrite(client, write, content.subarray(0, MIB / 2));
  server.signal('SIGTERM');
  await server.waitForStderr(STOPPING);
  await client.send(content.subarray(MIB / 2));
  expect(await client.reply(() => 0)).toMatchObject({ errno: 0, cookie: 7 });
  await client.closed();
  expect(await server.ended).toMatchObject({ code: 0, signal: null });
  expect(
    fs
      .readFileSync(image)
      .subarray(4096, 4096 + MIB)
      .equals(content),
  ).toBe(true);
});

test('SIGTERM lets replies under way out, whole and right, and leaves the rest unanswered', async () => {
  const directory = workspace();
  const image = makeImage(directory, SIZE);
  const server = await startServer(directory, [image, '--verbose']);
  const client = await RawClient.connect(server.socket);
  const length = MIB / 4;
  const count = SIZE / length;
  const requests = Array.from({ length: count }, (_, i) =>
    requestBytes({ command: Command.READ, offset: i * length, length, cookie: i }),
  );
  await client.send(Buffer.concat(requests));
  const content = fs.readFileSync(image);
  const isRight = ({ cookie, data }: { cookie: number; data: Buffer }): boolean =>
    data.equals(content.subarray(cookie * length, (cookie + 1) * length));
  // Far more is asked for than a socket holds, so most replies are still on their way.
  expect(isRight(await client.reply(() => length))).toBe(true);
  server.signal('SIGTERM');
  await server.waitForStderr(STOPPING);
  let answered = 1;
  for (; !(await client.isOver()); answered++) {
    expect(isRight(await client.reply(() => length))).toBe(true);
  }
  expect(answered).toBeLessThan(count);
  expect(await server.ended).toMatchObject({ code: 0, signal: null });
});

test('SIGTERM leaves requests that come later unanswered, for the client to repeat', async () => {
  const directory = workspace();
  const server = await startServer(directory, [makeEmptyImage(directory, SIZE), '--verbose']);
  const client = await RawClient.connect(server.socket);
  await beginWrite(client, { length: 8, cookie: 1 }, Buffer.alloc(4));
  server.signal('SIGTERM');
  await server.waitForStderr(STOPPING);
  const read = { command: Command.READ, length: 512, cookie: 2 };
  await client.send(Buffer.concat([Buffer.alloc(4), requestBytes(read)]));
  expect(await client.reply(() => 0)).toMatchObject({ errno: 0, cookie: 1 });
  await client.closed();
  expect(await server.ended).toMatchObject({ code: 0 });
});

test.each([
  ['SIGTERM', 143],
  ['SIGINT', 130],
] as const)('a second signal, %s, ends a server at once with %i', async (signal, code) => {
  const directory = workspace();
  const server = await startServer(directory, [makeEmptyImage(directory, SIZE), '--verbose']);
  const client = await RawClient.connect(server.socket);
  // A write that never gets its payload would be waited for.
  await beginWrite(client, { length: MIB }, Buffer.alloc(0));
  server.signal('SIGTERM');
  await server.waitForStderr(STOPPING);
  server.signal(signal);
  expect(await server.ended).toMatchObject({ code, signal: null });
  await client.closed();
});

test('a server that was killed leaves a socket that the next one takes over', async () => {
  const directory = workspace();
  const image = makeImage(directory, MIB);
  const killed = await startServer(directory, [image]);
  killed.signal('SIGKILL');
  await killed.ended;
  expect(fs.existsSync(killed.socket)).toBe(true);
  const next = await startServer(directory, [image]);
  await RawClient.connect(next.socket);
});
