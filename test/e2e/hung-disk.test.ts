import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { Command } from '../../src/nbd/protocol.ts';
import { needsPrograms, PROGRAM_PATH } from '../tools/programs.ts';
import { RawClient, requestBytes } from '../tools/raw-client.ts';
import { startServer } from '../tools/server.ts';
import { until } from '../tools/until.ts';
import { MIB, makeEmptyImage, makeImage, workspace } from '../tools/workspace.ts';

needsPrograms('nbdfuse', 'nbdkit');

const SIZE = 8 * MIB;
const PAGE = 4096;
/** Far more than there are threads. */
const CLIENTS = 2;
const REQUESTS = 60;

/** What a request of that cookie asks for; the others trim. */
const isRead = (cookie: number) => cookie % 4 !== 0;

/** A disk that can be made to hang. */
interface FuseDisk {
  readonly file: string;
  /** Until it is told to go on, no request of the disk is answered. */
  hang(): void;
  goOn(): void;
}

/** The image as a file of a file system in user space; undefined where this user may mount none. */
async function fuseDisk(image: string): Promise<FuseDisk | undefined> {
  const file = path.join(path.dirname(image), 'fuse.raw');
  fs.writeFileSync(file, '');
  const command = ['--command', 'nbdkit', '-s', '--exit-with-parent', 'file', image];
  const child = spawn('nbdfuse', [file, ...command], {
    stdio: 'ignore',
    env: { ...process.env, PATH: PROGRAM_PATH },
  });
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  const isMounted = () => fs.statSync(file).size === SIZE;
  await until(() => isMounted() || child.exitCode !== null);
  if (child.exitCode !== null) return;
  onTestFinished(async () => {
    child.kill('SIGCONT');
    child.kill('SIGTERM');
    await ended;
  });
  return {
    file,
    hang: () => void child.kill('SIGSTOP'),
    goOn: () => void child.kill('SIGCONT'),
  };
}

test.for([
  ['what is best', []],
  ['threads', ['--io', 'threads']],
] as const)('a disk that hangs holds up no other, by %s', async ([, options], { skip }) => {
  const directory = workspace();
  const disk = await fuseDisk(makeImage(directory, SIZE));
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
