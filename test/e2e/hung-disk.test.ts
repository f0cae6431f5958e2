import { expect, onTestFinished, test } from 'vitest';
import { Command } from '../../src/nbd/protocol.ts';
import { FUSE_PROGRAMS, fuseDisk } from '../tools/fuse-disk.ts';
import { needsPrograms } from '../tools/programs.ts';
import { RawClient, requestBytes } from '../tools/raw-client.ts';
import { startServer } from '../tools/server.ts';
import { MIB, makeEmptyImage, makeImage, workspace } from '../tools/workspace.ts';

needsPrograms(...FUSE_PROGRAMS);

const SIZE = 8 * MIB;
const PAGE = 4096;
/** Far more than there are threads. */
const CLIENTS = 4;
const REQUESTS = 60;

/** What a request of that cookie asks for; the others trim. */
const isRead = (cookie: number) => cookie % 4 !== 0;

test.for([
  ['what is best', []],
  ['threads', ['--io', 'threads']],
] as const)('disks that hang hold up no other, by %s', async ([, options], { skip }) => {
  const directory = workspace();
  const first = await fuseDisk(makeImage(workspace(), SIZE), SIZE);
  const second = await fuseDisk(makeImage(workspace(), SIZE), SIZE);
  if (first === undefined || second === undefined) return skip('needs root and FUSE');
  const other = makeEmptyImage(directory, SIZE, 'other.raw');
  const images = [`first=${first.file}`, `second=${second.file}`, `other=${other}`];
  const server = await startServer(directory, [...images, ...options, '--memory', '64MiB']);
  const goOn = () => {
    first.goOn();
    second.goOn();
  };
  onTestFinished(goOn); // before the server is waited for
  first.hang();
  second.hang();
  const waiting: RawClient[] = [];
  for (let each = 0; each < CLIENTS; each++) {
    const patient = await RawClient.connect(server.socket, each % 2 === 0 ? 'first' : 'second');
    waiting.push(patient);
    const write = requestBytes({ command: Command.WRITE, length: PAGE, cookie: 0 });
    const requests = [write, Buffer.alloc(PAGE, 1)];
    for (let i = 1; i <= REQUESTS; i++) {
      const offset = (each * REQUESTS + i) * 2 * PAGE;
      const command = isRead(i) ? Command.READ : Command.TRIM;
      requests.push(requestBytes({ command, offset, length: PAGE, cookie: i }));
    }
    await patient.send(Buffer.concat(requests));
  }
  const client = await RawClient.connect(server.socket, 'other');
  for (const command of [Command.READ, Command.WRITE, Command.FLUSH, Command.TRIM]) {
    const length = command === Command.FLUSH ? 0 : PAGE;
    const request = requestBytes({ command, length });
    await client.send(
      command === Command.WRITE ? Buffer.concat([request, Buffer.alloc(PAGE, 2)]) : request,
    );
    const reply = await client.reply(() => (command === Command.READ ? PAGE : 0));
    expect(reply.errno).toBe(0);
  }
  goOn();
  for (const patient of waiting) {
    for (let left = 1 + REQUESTS; left > 0; left--) {
      expect((await patient.reply((cookie) => (isRead(cookie) ? PAGE : 0))).errno).toBe(0);
    }
  }
  await server.stop();
});

test('clients of a disk that hangs leave buffers for those of another', async ({ skip }) => {
  const directory = workspace();
  const size = 64 * MIB;
  const disk = await fuseDisk(makeEmptyImage(directory, size), size);
  if (disk === undefined) return skip('needs root and FUSE');
  const other = makeEmptyImage(directory, SIZE, 'other.raw');
  const images = [`hung=${disk.file}`, `other=${other}`];
  const server = await startServer(directory, [...images, '--memory', '256MiB']);
  onTestFinished(() => disk.goOn()); // before the server is waited for
  disk.hang();
  // As many small and large buffers as one client may have, for reads and for what is written.
  const lengths = [...Array(32).fill(PAGE), ...Array(8).fill(MIB / 4)];
  const waiting: RawClient[] = [];
  for (let each = 0; each < 16; each++) {
    const patient = await RawClient.connect(server.socket, 'hung');
    waiting.push(patient);
    const offset = each * 4 * MIB;
    const reads = lengths.map((length, cookie) =>
      requestBytes({
        command: Command.READ,
        offset: offset + cookie * 3 * 8 * PAGE,
        length,
        cookie,
      }),
    );
    const write = requestBytes({ command: Command.WRITE, offset, length: 4 * MIB, cookie: 99 });
    await patient.send(Buffer.concat([...reads, write]));
    void patient.send(Buffer.alloc(4 * MIB, 1));
  }
  const client = await RawClient.connect(server.socket, 'other');
  for (const length of [PAGE, MIB / 4, MIB]) {
    const offset = length;
    await client.send(requestBytes({ command: Command.READ, offset, length }));
    expect((await client.reply(() => length)).errno).toBe(0);
    await client.send(requestBytes({ command: Command.WRITE, offset, length }));
    await client.send(Buffer.alloc(length, 2));
    expect((await client.reply(() => 0)).errno).toBe(0);
  }
  disk.goOn();
  const answered = waiting.map(async (patient) => {
    for (let left = lengths.length + 1; left > 0; left--) {
      expect((await patient.reply((cookie) => lengths[cookie] ?? 0)).errno).toBe(0);
    }
  });
  await Promise.all(answered);
  await server.stop();
});
