import { expect, test } from 'vitest';
import { needsPrograms, runProgram, runWell } from '../tools/programs.ts';
import { startServer } from '../tools/server.ts';
import { hasSameContent, MIB, makeEmptyImage, makeImage, workspace } from '../tools/workspace.ts';

needsPrograms('qemu-io', 'qemu-img');

const SIZE = 8 * MIB;

/** Runs qemu-io's commands in one session; a pattern that does not match is a failure. */
async function qemuIo(where: string, commands: readonly string[], ...options: string[]) {
  const args = commands.flatMap((command) => ['-c', command]);
  const said = await runWell('qemu-io', ['-f', 'raw', '-d', 'unmap', ...options, ...args, where]);
  expect(said).not.toMatch(/failed|error/i);
}

/** Does the same to an export and to a plain file, and compares: qemu-io is its own oracle. */
async function compareWithFile(commands: readonly string[], ...options: string[]): Promise<void> {
  const directory = workspace();
  const image = makeImage(directory, SIZE);
  const twin = makeImage(directory, SIZE, 'twin.raw');
  const server = await startServer(directory, [image, '--memory', '32MiB', ...options]);
  await qemuIo(server.uri(), commands);
  await qemuIo(twin, commands);
  // What the cache holds, then what the file holds, then what is left when the server is gone.
  await runWell('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', server.uri(), twin]);
  expect(hasSameContent(image, twin)).toBe(true);
  await server.stop();
  expect(hasSameContent(image, twin)).toBe(true);
}

/** Reads before and after, so that the cache has every page of both states to be wrong about. */
const around = (commands: readonly string[]) => [`read 0 ${SIZE}`, ...commands, `read 0 ${SIZE}`];

test.each(['0', '25%', '90%'])('qemu-io finds what it wrote, with --hot %s', async (hot) => {
  const commands = [
    ...['write -P 0x11 0 1M', 'read -P 0x11 0 1M', 'write -P 0x22 4k 4k', 'read -P 0x22 4k 4k'],
    ...['read -P 0x11 0 4k', 'read -P 0x11 8k 1016k', 'write -P 0x33 2M 3M', 'read -P 0x33 2M 3M'],
    ...['write -P 0 1M 64k', 'read -P 0 1M 64k', 'write -P 0x44 1M 64k', 'read -P 0x44 1M 64k'],
  ];
  await compareWithFile(around(commands), '--hot', hot);
});

test('qemu-io finds what it wrote at sectors inside pages', async () => {
  const commands = [
    ...['write -P 0x51 512 512', 'read -P 0x51 512 512', 'write -P 0x52 7680 1024'],
    ...['read -P 0x52 7680 1024', 'write -P 0x53 1536 100864', 'read -P 0x53 1536 100864'],
    ...[
      'read -P 0x51 512 512',
      `write -P 0x54 ${SIZE - 512} 512`,
      `read -P 0x54 ${SIZE - 512} 512`,
    ],
  ];
  await compareWithFile(around(commands));
});

test('qemu-io finds what it wrote at odd offsets with odd lengths', async () => {
  const commands = [
    ...['write -P 0x61 1 1', 'read -P 0x61 1 1', 'write -P 0x62 4095 2', 'read -P 0x62 4095 2'],
    ...['write -P 0x63 10001 70003', 'read -P 0x63 10001 70003', 'write -P 0x64 300001 600007'],
    ...['read -P 0x64 300001 600007', 'write -z 310003 5001', 'read -P 0 310003 5001'],
    ...['read -P 0x64 300001 10002', 'discard 400003 4999', `write -P 0x65 ${SIZE - 1} 1`],
  ];
  await compareWithFile(around(commands));
});

test('qemu-io reads zeros where it wrote zeroes, with and without unmap', async () => {
  const commands = [
    ...['write -z 1M 64k', 'read -P 0 1M 64k', 'write -z -u 2M 1M', 'read -P 0 2M 1M'],
    ...['write -z 3M 100', 'read -P 0 3M 100', 'write -z -u 5000k 3333', 'read -P 0 5000k 3333'],
    ...['write -P 0x77 2100k 8k', 'read -P 0x77 2100k 8k', 'read -P 0 2M 48k'],
  ];
  await compareWithFile(around(commands));
});

test('qemu-io reads zeros where it discarded whole blocks', async () => {
  const commands = [
    'discard 1M 1M',
    'read -P 0 1M 1M',
    'write -P 0x71 1M 4k',
    'read -P 0 1028k 4k',
  ];
  await compareWithFile(around([...commands, 'discard 0 8M', 'read -P 0 0 8M']));
});

test('qemu-io writes with FUA and flushes, and the image has it at once', async () => {
  const commands = [
    'write -f -P 0x81 0 64k',
    'flush',
    'write -f -z 1M 4k',
    'write -f -P 0x82 77 9',
  ];
  await compareWithFile(around(commands));
});

test('qemu-io finds what it wrote with many requests of one session under way', async () => {
  const commands: string[] = [];
  for (let i = 0; i < 64; i++) commands.push(`aio_write -q -P ${i + 1} ${i * 96 + 1}k 96k`);
  commands.push('aio_flush');
  for (let i = 0; i < 64; i++) commands.push(`aio_read -q -P ${i + 1} ${i * 96 + 1}k 96k`);
  await compareWithFile([...commands, 'aio_flush']);
});

test('qemu-io may not write to a read-only export', async () => {
  const directory = workspace();
  const image = makeEmptyImage(directory, MIB);
  const server = await startServer(directory, [image, '--mode', 'read-only']);
  await qemuIo(server.uri(), ['read -P 0 0 1M'], '-r');
  const write = ['-f', 'raw', '-c', 'write -P 1 0 4k', server.uri()];
  const refused = await runProgram('qemu-io', write);
  expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining('Permission denied') });
});
