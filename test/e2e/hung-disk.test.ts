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
const CLIENTS = 2;
const REQUESTS = 60;

/** What a request of that cookie asks for; the others trim. */
const isRead = (cookie: number) => cookie % 4 !== 0;

test.for([
  ['what is best', []],
  ['threads', ['--io', 'threads']],
] as const)('a disk that hangs holds up no other, by %s', async ([, options], { skip }) => {
  const directory = workspace();
  const disk = await fuseDisk(makeImage(directory, SIZE), SIZE);
  if (disk === undefined) return skip('needs root and FUSE');
  const other = makeEmptyImage(directory, SIZE, 'other.raw');
  const images = [`hung=${disk.file}`, `other=${other}`];
  const server = await startServer(directory, [...images, ...options, '--memory', '64MiB']);
  onTestFinished(() => disk.goOn()); // before the server is waited for
  disk.hang();
  const waiting: RawClient[] = [];
  for (let each = 0; each < CLIENTS; each++) {
    const patient = await RawClient.connect(server.socket, 'hung');
    waiting.push(patient);
    const write = requestBytes({ command: Command.WRITE, length: PAGE, cookie: 0 });
    const requests = [write, Buffer.alloc(PAGE, 1)];
    for (let i = 1; i <= REQUESTS; i++) {
      const offset = (each * REQUESTS + i) * 8 * PAGE;
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
  disk.goOn();
  for (const patient of waiting) {
    for (let left = 1 + REQUESTS; left > 0; left--) {
      expect((await patient.reply((cookie) => (isRead(cookie) ? PAGE : 0))).errno).toBe(0);
    }
  }
  await server.stop();
});
