import { expect, test } from 'vitest';
import { RawClient } from '../tools/raw-client.ts';
import { startServer } from '../tools/server.ts';
import { MIB, makeImage, workspace } from '../tools/workspace.ts';

/** So many have buffers in 64 MiB. */
const CLIENT_COUNT = 7;

test('clients for whom there is no room are turned away, and the log says once what to do', async () => {
  const directory = workspace();
  const server = await startServer(directory, [makeImage(directory, MIB), '--memory', '64MiB']);
  for (let i = 0; i < CLIENT_COUNT; i++) await RawClient.connect(server.socket);
  for (let i = 0; i < 2; i++) {
    await expect(RawClient.connect(server.socket)).rejects.toThrow('hung up');
  }
  server.expectAtEnd(
    /^tmem: clients are turned away, for 7 are connected and have all the buffers; let each use fewer connections, or give more memory, up to 512MiB\n$/,
  );
  await server.stop();
});
