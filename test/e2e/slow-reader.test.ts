import { expect, test } from 'vitest';
import { Command } from '../../src/nbd/protocol.ts';
import { nbdsh } from '../tools/nbdsh.ts';
import { needsPrograms, runWell } from '../tools/programs.ts';
import { RawClient, type RawRequest, requestBytes } from '../tools/raw-client.ts';
import { RUNTIME_BYTES_MAX, startServer, type TestServer } from '../tools/server.ts';
import { MIB, makeImage, workspace } from '../tools/workspace.ts';

needsPrograms('nbdcopy', 'nbdsh');

const SIZE = 16 * MIB;
const KIB = 1024;
const MEMORY = ['--memory', '32MiB'];
/** The limit above, and what the program itself may take. */
const RESIDENT_BYTES_MAX = 32 * MIB + RUNTIME_BYTES_MAX;

/** Has another client read everything, then looks at the most memory the server ever had. */
async function expectCheap(server: TestServer): Promise<void> {
  await runWell('nbdcopy', [server.uri(), 'null:']);
  expect(server.residentBytesMax()).toBeLessThan(RESIDENT_BYTES_MAX);
}

/** Bytes that ask the same over and over, with `payload` behind each request. */
function flood(request: RawRequest, payload: number, bytes: number): Buffer {
  const one = Buffer.concat([requestBytes(request), Buffer.alloc(payload, 1)]);
  return Buffer.alloc(Math.floor(bytes / one.length) * one.length, one);
}

test.each<[string, RawRequest, number, number]>([
  ['short reads', { command: Command.READ, length: 4 * KIB }, 0, 4 * MIB],
  ['reads of a piece', { command: Command.READ, length: 256 * KIB }, 0, 4 * MIB],
  ['long reads', { command: Command.READ, length: 8 * MIB }, 0, 4 * MIB],
  ['reads of nothing', { command: Command.READ }, 0, 16 * MIB],
  ['reads beyond the end', { command: Command.READ, offset: SIZE, length: 1 }, 0, 16 * MIB],
  ['unknown commands', { command: 99 }, 0, 16 * MIB],
  ['writes', { command: Command.WRITE, length: 512, offset: 512 }, 512, 16 * MIB],
  ['writes beyond the end', { command: Command.WRITE, length: 1, offset: SIZE }, 1, 16 * MIB],
  ['flushes', { command: Command.FLUSH }, 0, 4 * MIB],
  ['prefetches', { command: Command.CACHE, length: 4 * KIB }, 0, 16 * MIB],
])(
  '%s whose replies nobody reads cost little and block nobody',
  async (_, request, payload, bytes) => {
    const directory = workspace();
    const server = await startServer(directory, [makeImage(directory, SIZE), ...MEMORY]);
    // The first finds nothing cached, the second all that the other client has read.
    for (let clients = 0; clients < 2; clients++) {
      const client = await RawClient.connect(server.socket);
      void client.send(flood(request, payload, bytes));
      await expectCheap(server);
    }
  },
);

test('block status replies that nobody reads cost little and block nobody', async () => {
  const directory = workspace();
  const image = makeImage(directory, 256 * MIB);
  const server = await startServer(directory, [image, ...MEMORY]);
  const script = `
import subprocess
h = connect(context=True)
answers = 0
def answered(context, offset, entries, error):
    global answers
    answers += 1
for i in range(2000):
    h.aio_block_status(256 * MIB, 0, answered)
subprocess.run(["nbdcopy", URI, "null:"], check=True)
assert answers == 0
`;
  await nbdsh(server, image, script);
  await expectCheap(server);
});
