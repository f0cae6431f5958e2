import { expect, test } from 'vitest';
import { Command, CommandFlag, NbdErrno } from '../../src/nbd/protocol.ts';
import { startServer } from './server-fixture.ts';
import { SocketClient } from './socket-client.ts';

/** A server whose requests are recorded as `command flags offset length`. */
async function recorded() {
  const parts = await startServer();
  const heard: string[] = [];
  const seconds: number[] = [];
  parts.server.recording.recorder = {
    record: (exportNumber, command, flags, offset, length, at) => {
      heard.push([exportNumber, command, flags, offset, length].join(' '));
      seconds.push(at);
    },
  };
  const client = await SocketClient.ready(parts.address);
  return { ...parts, client, heard, seconds };
}

test('every request that is carried out is told once, in its order; a refused one is not', async () => {
  const { client, heard, seconds } = await recorded();
  const answers = await client.ask(
    { command: Command.READ, offset: 4096n, length: 512 },
    { command: Command.WRITE, offset: 512n, payload: Buffer.alloc(1024), flags: CommandFlag.FUA },
    { command: Command.READ, offset: 1n << 40n, length: 512 },
    { command: Command.WRITE, offset: 1n << 40n, payload: Buffer.alloc(512) },
    { command: Command.TRIM, offset: 8192n, length: 4096 },
    { command: Command.FLUSH },
  );
  const { READ, WRITE, TRIM, FLUSH } = Command;
  expect(answers.filter(({ errno }) => errno !== 0).map(({ errno }) => errno)).toEqual(
    expect.arrayContaining([NbdErrno.EINVAL, NbdErrno.ENOSPC]),
  );
  expect(heard).toEqual([
    ...[`0 ${READ} 0 4096 512`, `0 ${WRITE} ${CommandFlag.FUA} 512 1024`],
    ...[`0 ${TRIM} 0 8192 4096`, `0 ${FLUSH} 0 0 0`],
  ]);
  expect(seconds).toEqual(seconds.toSorted((a, b) => a - b));
  client.socket.destroy();
});

test('reads that wait for room are told once each', async () => {
  const { client, heard } = await recorded();
  const length = 1024 * 1024;
  const requests = Array.from({ length: 24 }, (_, i) => ({
    ...{ command: Command.READ, offset: BigInt((i % 8) * length), length },
  }));
  await client.ask(...requests);
  expect(heard).toEqual(requests.map(({ offset }) => `0 ${Command.READ} 0 ${offset} ${length}`));
  client.socket.destroy();
});

test('nobody is told any more when the switch is turned off', async () => {
  const { client, heard, server } = await recorded();
  await client.ask({ command: Command.READ, length: 512 });
  server.recording.recorder = undefined;
  await client.ask({ command: Command.READ, length: 512 });
  expect(heard).toHaveLength(1);
  client.socket.destroy();
});
