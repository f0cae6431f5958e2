import fs from 'node:fs';
import { expect, test } from 'vitest';
import { needsPrograms, runWell } from '../tools/programs.ts';
import { RawClient } from '../tools/raw-client.ts';
import { startServer } from '../tools/server.ts';
import { MIB, makeImage, workspace } from '../tools/workspace.ts';

needsPrograms('prlimit');

test.each([
  ['64MiB', 7, ', or give more memory, up to 512MiB'],
  ['512MiB', 63, ''],
])(
  'clients for whom %s has no room are turned away, and the log says once what to do',
  async (memory, clientCount, more) => {
    const directory = workspace();
    const server = await startServer(directory, [makeImage(directory, MIB), '--memory', memory]);
    for (let i = 0; i < clientCount; i++) await RawClient.connect(server.socket);
    for (let i = 0; i < 2; i++) {
      await expect(RawClient.connect(server.socket)).rejects.toThrow('hung up');
    }
    const why = `${clientCount} are connected and have all the buffers`;
    const advice = `let each use fewer connections${more}`;
    server.expectAtEnd(new RegExp(`^tmem: clients are turned away, for ${why}; ${advice}\\n$`));
    await server.stop();
  },
);

test('clients for whom no descriptor is left are hung up on, and the log says once what to do', async () => {
  const directory = workspace();
  const server = await startServer(directory, [makeImage(directory, MIB), '--memory', '512MiB']);
  const { length: openCount } = fs.readdirSync(`/proc/${server.pid}/fd`);
  await runWell('prlimit', [`--pid=${server.pid}`, `--nofile=${openCount + 4}`]);
  const connectAll = async () => {
    for (let i = 0; i < 8; i++) await RawClient.connect(server.socket);
  };
  await expect(connectAll()).rejects.toThrow('hung up');
  server.expectAtEnd(/^tmem: the system lets this service have no more files open: .*\n$/);
  await server.stop();
});
