import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { expect, test } from 'vitest';
import { Connection } from '../../src/nbd/connection.ts';
import { Command } from '../../src/nbd/protocol.ts';
import { Recording } from '../../src/nbd/recording.ts';
import { Spinner } from '../../src/nbd/socket/spinner.ts';
import { ServerStatistics } from '../../src/nbd/statistics.ts';
import { KIB, makeExport, quiet } from '../export/fixture.ts';
import { encodeRequest } from './requests.ts';
import { HANDSHAKE } from './socket-client.ts';
import { ALL_FLAGS } from './transmission/transmission-fixture.ts';

/** The server's end of a socket whose client takes what it is sent when the test says so. */
class HeldSocket extends Duplex {
  readonly remoteAddress = '127.0.0.1';
  isTaking = true;
  #taken: (() => void) | undefined;

  override _read(): void {
    // it is pushed
  }

  override _write(_bytes: Buffer, _encoding: string, done: () => void): void {
    if (this.isTaking) done();
    else this.#taken = done;
  }

  setNoDelay(): void {}

  setKeepAlive(): void {}

  finish(): void {
    this.#taken?.();
  }
}

/** A connection in its transmission phase, and its client's requests. */
async function connect() {
  const { target, buffers } = makeExport();
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
    buffers,
    statistics: new ServerStatistics(),
    spinner: new Spinner(0, () => 0),
    handshakeTimeoutMs: 60_000,
    now: () => 0,
    log: (message) => log.push(message),
  });
  const ask = async (): Promise<void> => {
    socket.push(encodeRequest({ command: Command.READ, cookie: 1n, length: 4 * KIB }));
    await quiet();
  };
  socket.push(HANDSHAKE);
  await quiet();
  await ask();
  return { connection, socket, log, ask };
}

test('a client whose reply has just begun is not taken for one that takes none', async () => {
  const { connection, socket, log, ask } = await connect();
  connection.lookForStall(true);
  connection.lookForStall(true);
  socket.isTaking = false;
  await ask();
  connection.lookForStall(true);
  expect(log).toEqual([]);
  socket.finish();
  await ask();
  connection.lookForStall(true);
  expect(log).toEqual([]);
  connection.lookForStall(false);
  expect(log).toEqual([]);
  connection.lookForStall(true);
  expect([log.length, socket.destroyed]).toEqual([1, true]);
});
