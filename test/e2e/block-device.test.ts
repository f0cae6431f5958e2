import { expect, onTestFinished, test } from 'vitest';
import { needsPrograms, runProgram, runWell } from '../tools/programs.ts';
import { startServer, TMEM } from '../tools/server.ts';
import { hasSameContent, MIB, makeImage, workspace } from '../tools/workspace.ts';

needsPrograms('qemu-io', 'qemu-img', 'nbdinfo');

const SIZE = 16 * MIB;

/** A block device on a file, where this user may make one. */
async function loopDevice(file: string, ...more: readonly string[]): Promise<string | undefined> {
  const made = await runProgram('losetup', ['--find', '--show', ...more, file]).catch(
    () => undefined,
  );
  if (made?.code !== 0) return undefined;
  const device = made.stdout.trim();
  onTestFinished(async () => {
    await runWell('losetup', ['--detach', device]);
  });
  return device;
}

test('a block device is served as a file is', async ({ skip }) => {
  const directory = workspace();
  const image = makeImage(directory, SIZE);
  const twin = makeImage(directory, SIZE, 'twin.raw');
  const device = await loopDevice(image);
  if (device === undefined) return skip('needs root and a free loop device');
  const server = await startServer(directory, [`disk=${device}`, '--memory', '32MiB']);
  expect(await runWell('nbdinfo', ['--size', server.uri('disk')])).toBe(`${SIZE}\n`);
  const commands = [
    ...['read 0 16M', 'write -P 0x21 1M 1M', 'write -z 4M 100k', 'write -z -u 5M 100k'],
    ...['write -P 0x22 7777777 3333', 'discard 9M 64k', 'read -P 0x21 1M 1M', 'read -P 0 4M 100k'],
    ...['write -f -P 0x23 9M 64k', 'read -P 0 5M 100k', 'read -P 0x22 7777777 3333', 'flush'],
  ].flatMap((command) => ['-c', command]);
  const compare = ['compare', '-f', 'raw', '-F', 'raw'];
  for (const disk of [server.uri(), twin]) {
    await runWell('qemu-io', ['-f', 'raw', '-d', 'unmap', ...commands, disk]);
  }
  await runWell('qemu-img', [...compare, server.uri(), twin]);
  await server.stop();
  await runWell('qemu-img', [...compare, device, twin]);
  expect(hasSameContent(image, twin)).toBe(true);
});

test('a block device that takes no writes is refused, and served read-only', async ({ skip }) => {
  const directory = workspace();
  const image = makeImage(directory, SIZE);
  const device = await loopDevice(image, '--read-only');
  if (device === undefined) return skip('needs root and a free loop device');
  const serve = ['serve', device, '--mode', 'writeback', '--listen', `unix:${directory}/no.sock`];
  const refused = await runProgram(process.execPath, [TMEM, ...serve, '--admin', 'none']);
  expect(refused).toMatchObject({ code: 2, stdout: '' });
  expect(refused.stderr).toBe(
    `tmem: cannot open "${device}": this device is set to take no writes; open it read-only\n`,
  );
  const server = await startServer(directory, [device, '--mode', 'read-only']);
  await runWell('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', server.uri(), image]);
  await server.stop();
});
