import { expect, test } from 'vitest';
import { RawClient } from '../tools/raw-client.ts';
import { startServer } from '../tools/server.ts';
import { MIB, makeImage, workspace } from '../tools/workspace.ts';

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
