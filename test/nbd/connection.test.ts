import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { expect, test } from 'vitest';
import { Connection } from '../../src/nbd/connection.ts';
import { Command, NbdErrno, Option } from '../../src/nbd/protocol.ts';
import { Recording } from '../../src/nbd/recording.ts';
import { Spinner } from '../../src/nbd/socket/spinner.ts';
import { ServerStatistics } from '../../src/nbd/statistics.ts';
import { KIB, makeExport, quiet } from '../export/fixture.ts';
import { FIXED, info, NO_ZEROES, option, u32 } from './handshake/scripted-client.ts';
import { ReplyParser } from './reply-parser.ts';
import { encodeRequest } from './requests.ts';
import { HANDSHAKE } from './socket-client.ts';
import { ALL_FLAGS } from './transmission/transmission-fixture.ts';

/** The server's end of a socket whose client takes what it is sent when the test says so. */
class HeldSocket extends Duplex {
  readonly remoteAddress = '127.0.0.1';
  isTaking = true;
  readonly taken: Buffer[] = [];
  readonly settings: unknown[] = [];
  #taken: (() => void) | undefined;

  override _read(): void {
    // it is pushed
  }

  override _write(bytes: Buffer, _encoding: string, done: () => void): void {
    this.taken.push(Buffer.from(bytes)); // it is used again when it was taken
    if (this.isTaking) done();
    else this.#taken = done;
  }

  setNoDelay(isWanted: boolean): void {
    this.settings.push({ noDelay: isWanted });
  }

  setKeepAlive(isWanted: boolean, ms: number): void {
    this.settings.push({ keepAlive: isWanted, ms });
  }

  finish(): void {
    this.#taken?.();
  }
}

/** A connection that its client has sent `handshake`, and the client's requests. */
async function connect(handshake: Buffer) {
  const { target, storage } = makeExport();
  const socket = new HeldSocket();
  const log: string[] = [];
  const found = {
    name: target.name,
    sizeBytes: target.sizeBytes,
    transmissionFlags: ALL_FLAGS,
    minimumBlockBytes: 1,
    preferredBlockBytes: 4 * KIB,
    maximumBlockBytes: 32 * 1024 * KIB,
  };
  const connection = new Connection(socket as unknown as Socket, undefined, {
    directory: { names: () => [target.name], find: () => found },
    exportOf: () => target,
    numberOf: () => 0,
    recording: new Recording(),
    statistics: new ServerStatistics(),
    spinner: new Spinner(0, () => 0),
    handshakeTimeoutMs: 60_000,
    now: () => 0,
    log: (message) => log.push(message),
  });
  const ask = async (offset = 0, length = 4 * KIB): Promise<void> => {
    socket.push(encodeRequest({ command: Command.READ, cookie: 1n, offset, length }));
    await quiet();
  };
  socket.push(handshake);
  await quiet();
  return { connection, socket, log, storage, ask, buffers: target.buffers };
}

/** A reply that is sent from the buffer that it was read to, bytes. */
const LONG = 64 * KIB;

/** Somebody waits for the buffers of the export: until one is given back, there are none. */
function waitForBuffers({ buffers }: Awaited<ReturnType<typeof connect>>): void {
  while (buffers.take(1) !== undefined);
  void buffers.wait(1);
}

test('a client whose reply has just begun is not taken for one that takes none', async () => {
  const client = await connect(HANDSHAKE);
  const { connection, socket, log, ask } = client;
  await ask(0, LONG);
  socket.isTaking = false;
  await ask(LONG, LONG);
  waitForBuffers(client);
  connection.lookForStall();
  expect(log).toEqual([]);
  connection.lookForStall();
  expect([log.length, socket.destroyed]).toEqual([1, true]);
});

test('a client that takes no replies is dropped while others wait, and only then', async () => {
  const client = await connect(HANDSHAKE);
  const { connection, socket, log, ask } = client;
  socket.isTaking = false;
  await ask(0, LONG);
  for (let look = 0; look < 3; look++) connection.lookForStall();
  expect(log).toEqual([]);
  waitForBuffers(client);
  connection.lookForStall();
  expect(log.length).toBe(1);
});

test('a client that takes no replies is not dropped for buffers that it does not hold', async () => {
  const client = await connect(HANDSHAKE);
  const { connection, socket, log, ask } = client;
  await ask(0, LONG);
  socket.isTaking = false;
  await ask(0, LONG); // a hit goes out from memory of the connection
  waitForBuffers(client);
  for (let look = 0; look < 3; look++) connection.lookForStall();
  expect(log).toEqual([]);
});

test('a client that stops in the middle of a write is dropped while others wait for buffers', async () => {
  const client = await connect(HANDSHAKE);
  const { connection, socket, log } = client;
  const payload = Buffer.alloc(4 * KIB, 1);
  const write = encodeRequest({ command: Command.WRITE, cookie: 1n, payload });
  socket.push(write.subarray(0, 1000));
  await quiet();
  for (let look = 0; look < 3; look++) connection.lookForStall();
  waitForBuffers(client);
  socket.push(write.subarray(1000, 1001));
  await quiet();
  connection.lookForStall();
  expect(log).toEqual([]);
  connection.lookForStall();
  expect(log).toEqual([expect.stringMatching(/sent no more of a write/)]);
  expect(socket.destroyed).toBe(true);
});

test('a client that has sent more of a write than there is a buffer for is not dropped', async () => {
  const client = await connect(HANDSHAKE);
  const { connection, socket, log, buffers } = client;
  const large = 256 * KIB;
  const taken = Array.from({ length: buffers.largeCount }, () => buffers.take(large)!);
  const payload = Buffer.alloc(3 * large, 1);
  const write = encodeRequest({ command: Command.WRITE, cookie: 1n, payload });
  socket.push(write.subarray(0, 2 * large));
  await quiet();
  void buffers.wait(large);
  buffers.release(taken.pop()!);
  for (let turn = 0; turn < 5; turn++) await Promise.resolve();
  connection.lookForStall(); // it has a buffer, which is filled in the next turn
  await quiet();
  connection.lookForStall();
  expect(log).toEqual([]);
});

test('a client that sends nothing after a whole write is not dropped', async () => {
  const client = await connect(HANDSHAKE);
  const payload = Buffer.alloc(4 * KIB, 1);
  client.socket.push(encodeRequest({ command: Command.WRITE, cookie: 1n, payload }));
  await quiet();
  waitForBuffers(client);
  for (let look = 0; look < 3; look++) client.connection.lookForStall();
  expect(client.log).toEqual([]);
});

test('a socket sends at once, and a client that is silent for a minute is asked', async () => {
  const { socket } = await connect(HANDSHAKE);
  expect(socket.settings).toEqual([{ noDelay: true }, { keepAlive: true, ms: 60_000 }]);
});

test('a client that closes its side in the middle of its handshake is not waited for', async () => {
  const { socket } = await connect(HANDSHAKE.subarray(0, 30));
  expect(socket.writableEnded).toBe(false);
  socket.push(null);
  await quiet();
  expect(socket.writableEnded).toBe(true);
});

test('a client that closes its side behind a request is answered it', async () => {
  const { socket, storage, ask } = await connect(HANDSHAKE);
  const { arrived, release } = storage.holdNext('read');
  await ask();
  await arrived;
  socket.taken.length = 0;
  socket.push(null);
  await quiet();
  expect(socket.writableEnded).toBe(false);
  release();
  await quiet();
  expect([socket.writableEnded, Buffer.concat(socket.taken).length > 4 * KIB]).toEqual([
    true,
    true,
  ]);
});

test('what was not agreed on in the handshake is not done behind it', async () => {
  const plain = Buffer.concat([u32(FIXED | NO_ZEROES), option(Option.GO, info(''))]);
  const { socket, ask } = await connect(plain);
  socket.taken.length = 0;
  await ask();
  const status = { command: Command.BLOCK_STATUS, cookie: 2n, length: 4 * KIB };
  socket.push(encodeRequest(status));
  await quiet();
  const asked = { ...status, flags: 0, offset: 0 };
  const parser = new ReplyParser({ isStructured: false, contextIds: [] }, (cookie) =>
    cookie === 1n ? { ...asked, command: Command.READ } : asked,
  );
  for (const bytes of socket.taken) parser.feed(bytes);
  expect(parser.answers.map(({ cookie, errno }) => [cookie, errno])).toEqual([
    [1n, 0],
    [2n, NbdErrno.EINVAL],
  ]);
});
