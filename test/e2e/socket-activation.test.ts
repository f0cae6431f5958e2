import fs from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { needsPrograms, PROGRAM_PATH, runProgram, runWell } from '../tools/programs.ts';
import { TMEM } from '../tools/server.ts';
import { hasSameContent, MIB, makeEmptyImage, makeImage, workspace } from '../tools/workspace.ts';

needsPrograms('nbdinfo', 'nbdcopy', 'nbdsh');

/** An environment in which the program is called as after its installation. */
function withTmemOnPath(directory: string): Record<string, string> {
  const bin = path.join(directory, 'bin');
  fs.mkdirSync(bin);
  fs.symlinkSync(TMEM, path.join(bin, 'tmem'));
  return { PATH: [bin, PROGRAM_PATH].join(path.delimiter) };
}

const bracketed = (...command: string[]) => ['[', ...command, ']'];

test('nbdinfo [ node tmem serve IMAGE ] shows the image', async () => {
  const directory = workspace();
  const image = makeImage(directory, 3 * MIB);
  const command = bracketed(process.execPath, TMEM, 'serve', image);
  expect(await runProgram('nbdinfo', ['--size', ...command])).toEqual({
    code: 0,
    signal: null,
    stdout: `${3 * MIB}\n`,
    stderr: '',
  });
});

test('nbdinfo [ tmem serve image.raw ] shows the image of that name', async () => {
  const directory = workspace();
  makeImage(directory, 3 * MIB, 'image.raw');
  const env = withTmemOnPath(directory);
  const args = ['--json', ...bracketed('tmem', 'serve', 'image.raw')];
  const { exports } = JSON.parse(await runWell('nbdinfo', args, { env, directory }));
  expect(exports).toMatchObject([{ 'export-name': 'image.raw', 'export-size': 3 * MIB }]);
});

test('nbdcopy -- [ tmem serve image.raw ] out copies the image', async () => {
  const directory = workspace();
  const image = makeImage(directory, 20 * MIB, 'image.raw');
  const env = withTmemOnPath(directory);
  const server = bracketed('tmem', 'serve', '--memory', '32MiB', 'image.raw');
  await runWell('nbdcopy', ['--', ...server, 'out.raw'], { env, directory });
  expect(hasSameContent(path.join(directory, 'out.raw'), image)).toBe(true);
});

test('nbdcopy -- in [ tmem serve image.raw ] fills the image', async () => {
  const directory = workspace();
  const source = makeImage(directory, 20 * MIB, 'in.raw');
  const image = makeEmptyImage(directory, 20 * MIB, 'image.raw');
  const env = withTmemOnPath(directory);
  const server = bracketed('tmem', 'serve', 'image.raw');
  await runWell('nbdcopy', ['--flush', '--', 'in.raw', ...server], { env, directory });
  expect(hasSameContent(image, source)).toBe(true);
});

test('nbdinfo [ tmem serve none.raw ] passes on why it cannot be served', async () => {
  const directory = workspace();
  const env = withTmemOnPath(directory);
  const ended = await runProgram('nbdinfo', bracketed('tmem', 'serve', 'none.raw'), {
    env,
    directory,
  });
  expect(ended).toMatchObject({ code: 1, stderr: expect.stringMatching(/^tmem: .*no such file/m) });
});

test('two clients in turn use one server that a socket was handed to', async () => {
  const directory = workspace();
  const image = makeImage(directory, 3 * MIB);
  const script = `
import nbd
h = nbd.NBD()
h.connect_systemd_socket_activation(["${process.execPath}", "${TMEM}", "serve", "--verbose", "${image}"])
assert h.get_size() == ${3 * MIB}
h.pwrite(b"x" * 4096, 4096, nbd.CMD_FLAG_FUA)
assert h.pread(8192, 0)[4096:] == b"x" * 4096
h.shutdown()
`;
  await runWell('nbdsh', ['-c', script]);
  expect(fs.readFileSync(image).subarray(4096, 8192).equals(Buffer.alloc(4096, 'x'))).toBe(true);
});

test('nbdcopy -- [ tmem serve image.raw ] - | dd waits for a reader that is slower than it', async () => {
  const directory = workspace();
  const image = makeImage(directory, 20 * MIB, 'image.raw');
  const env = withTmemOnPath(directory);
  const copy = 'nbdcopy -- [ tmem serve --memory 32MiB image.raw ] -';
  const script = `set -o pipefail; ${copy} | dd bs=512 status=none of=out.raw`;
  await runWell('bash', ['-c', script], { env, directory });
  expect(hasSameContent(path.join(directory, 'out.raw'), image)).toBe(true);
});

test('a server that a socket was handed to leaves the standard streams as they were, also when it prints', async () => {
  const directory = workspace();
  const image = makeImage(directory, 3 * MIB);
  const script = `
import fcntl, nbd, os
stderr = os.dup(2)
reader, writer = os.pipe()
os.dup2(writer, 2)
h = nbd.NBD()
h.connect_systemd_socket_activation(["${process.execPath}", "${TMEM}", "serve", "--verbose", "${image}"])
printed = b""
while b"\\ncodec " not in printed: printed += os.read(reader, 4096)
flags = [fcntl.fcntl(fd, fcntl.F_GETFL) for fd in (0, 1, 2)]
os.dup2(stderr, 2)
assert [each & os.O_NONBLOCK for each in flags] == [0, 0, 0]
h.shutdown()
`;
  await runWell('nbdsh', ['-c', script]);
});
