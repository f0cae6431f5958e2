import fs from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { nbdsh } from '../tools/nbdsh.ts';
import { needsPrograms, runProgram, runWell } from '../tools/programs.ts';
import { makeServed, passphraseIn, type ServedKind } from '../tools/served-kinds.ts';
import { startServer, type TestServer } from '../tools/server.ts';
import { MIB, workspace } from '../tools/workspace.ts';

needsPrograms('nbdinfo', 'nbdsh', 'prlimit', 'qemu-img', 'qemu-io');

const SIZE = 16 * MIB;
const QCOW2: ServedKind = { name: 'qcow2', format: 'qcow2' };

const io = (server: TestServer, ...commands: string[]) =>
  runWell('qemu-io', ['-f', 'raw', ...commands.flatMap((c) => ['-c', c]), server.uri()]);

const takenBytes = (file: string) => fs.statSync(file).blocks * 512;

/** What each run of the disk is, and where it is kept. */
async function mapOf(image: string): Promise<{ start: number; zero: boolean; offset?: number }[]> {
  return JSON.parse(await runWell('qemu-img', ['map', '--output=json', image]));
}

async function check(format: string, image: string): Promise<number | null> {
  return (await runProgram('qemu-img', ['check', '-q', '-f', format, image])).code;
}

test.each([
  { name: 'qcow2', format: 'qcow2' },
  { name: 'thin qcow2', format: 'qcow2', options: 'extended_l2=on,cluster_size=128k' },
  { name: 'small qcow2', format: 'qcow2', options: 'cluster_size=4k' },
] as const)('what is trimmed or zeroed in a $name gives its space back', async (kind) => {
  const directory = workspace();
  const image = await makeServed(directory, kind, SIZE);
  const server = await startServer(directory, [image]);
  await io(server, 'write -P 1 0 12M', 'flush');
  expect(takenBytes(image)).toBeGreaterThan(12 * MIB);
  await io(server, 'discard 0 4M', 'write -z -u 4M 4M', 'flush', 'read -P 0 4M 4M');
  await io(server, 'read -P 1 8M 4M', 'flush');
  const map = JSON.parse(await runWell('nbdinfo', ['--map', '--json', server.uri()]));
  expect(map.at(0)).toMatchObject({ offset: 0, length: 8 * MIB, type: 3 });
  await server.stop();
  expect(takenBytes(image)).toBeLessThan(5 * MIB);
  expect(await check('qcow2', image)).toBe(0);
  const data = (await mapOf(image)).filter(({ zero }) => !zero);
  expect(data.map(({ start }) => start)[0]).toBe(8 * MIB);
});

test('what is trimmed in a pre-sized image stays where it is', async () => {
  const directory = workspace();
  const kind = { ...QCOW2, options: 'preallocation=full' };
  const image = await makeServed(directory, kind, SIZE);
  const before = (await mapOf(image)).map(({ start, offset }) => [start, offset]);
  const server = await startServer(directory, [image]);
  await io(server, 'write -P 1 0 16M', 'flush', 'discard 2M 3M', 'discard 9M 64k', 'flush');
  await io(server, 'write -P 2 3M 64k', 'write -P 3 9M 64k', 'read -P 1 6M 3M');
  await server.stop();
  expect(await check('qcow2', image)).toBe(0);
  expect(fs.statSync(image).size).toBeLessThan(SIZE + MIB);
  const moved = (await mapOf(image)).filter(({ start, offset }) => {
    const first = before[0]?.[1] ?? 0;
    return offset !== undefined && offset !== first + start;
  });
  expect(moved).toEqual([]);
});

test.each(['qcow2', 'qed', 'vmdk'] as const)(
  'a %s image that got another size has it at the next start',
  async (format) => {
    const directory = workspace();
    const image = await makeServed(directory, { name: format, format }, SIZE);
    const first = await startServer(directory, [image]);
    await io(first, 'write -P 9 15M 1M');
    await first.stop();
    if (format === 'vmdk') {
      await runWell('qemu-img', ['convert', '-O', 'raw', image, `${image}.raw`]);
      fs.truncateSync(`${image}.raw`, 2 * SIZE);
      await runWell('qemu-img', ['convert', '-O', 'vmdk', `${image}.raw`, image]);
    } else {
      await runWell('qemu-img', ['resize', '-q', '-f', format, image, `${2 * SIZE}`]);
    }
    const second = await startServer(directory, [image]);
    expect(Number(await runWell('nbdinfo', ['--size', second.uri()]))).toBe(2 * SIZE);
    await io(second, 'read -P 9 15M 1M', 'read -P 0 16M 16M', 'write -P 4 31M 1M');
    await second.stop();
    expect(await check(format, image)).toBe(0);
  },
);

test('an internal snapshot is served as it was, by name and by number, and never changed', async () => {
  const directory = workspace();
  const image = await makeServed(directory, QCOW2, SIZE);
  const change = (...commands: string[]) =>
    runWell('qemu-io', [...commands.flatMap((c) => ['-c', c]), image]);
  await change('write -P 1 0 1M');
  await runWell('qemu-img', ['snapshot', '-c', 'monday', image]);
  await change('write -P 2 0 64k', 'write -P 3 8M 1M');
  const before = fs.readFileSync(image);
  for (const snapshot of ['monday', '1']) {
    const args = [image, '--mode', 'read-only', '--load-snapshot', snapshot];
    const server = await startServer(directory, args);
    const uri = `driver=raw,file.driver=nbd,file.server.type=unix,file.server.path=${server.socket}`;
    const reads = ['-c', 'read -P 1 0 1M', '-c', 'read -P 0 8M 1M'];
    await runWell('qemu-io', ['-r', '--image-opts', ...reads, uri]);
    await server.stop();
  }
  expect(fs.readFileSync(image).equals(before)).toBe(true);
  const server = await startServer(directory, [image]);
  await io(server, 'write -P 5 0 1M', 'flush');
  await server.stop();
  expect(await check('qcow2', image)).toBe(0);
  const old = path.join(directory, 'old.raw');
  await runWell('qemu-img', ['convert', '-l', 'monday', '-O', 'raw', image, old]);
  await runWell('qemu-io', [
    '-r',
    '-f',
    'raw',
    '-c',
    'read -P 1 0 1M',
    '-c',
    'read -P 0 8M 1M',
    old,
  ]);
});

test.each([
  ['qcow2', 'qcow2', undefined, 'writethrough'],
  ['qcow2', 'small qcow2', 'cluster_size=4k', 'writeback'],
  ['qed', 'qed', undefined, 'writethrough'],
  ['vmdk', 'vmdk', undefined, 'writeback'],
] as const)(
  'a %s image without room for all of a write is sound, and goes on when there is: %s',
  async (format, name, options, mode) => {
    const directory = workspace();
    const kind = { name, format, ...(options === undefined ? {} : { options }) };
    const image = await makeServed(directory, kind, SIZE);
    const server = await startServer(directory, [image, '--mode', mode, '--memory', '64MiB']);
    await io(server, 'write -P 1 0 1M', 'flush');
    const limit = (bytes: string) =>
      runWell('prlimit', ['--pid', `${server.pid}`, `--fsize=${bytes}`]);
    await limit(`${4 * MIB + 100_000}:unlimited`);
    const script = `
h = connect()
failed = 0
for at in range(2, 14):
    try:
        h.pwrite(bytes([at]) * MIB, at * MIB)
        h.flush()
    except nbd.Error as error:
        assert error.errnum in (errno.ENOSPC, errno.EFBIG, errno.EIO), error
        failed += 1
assert 5 < failed < 12, failed
same(h.pread(MIB, 0), bytes([1]) * MIB, "what was there before")
same(h.pread(MIB, 2 * MIB), bytes([2]) * MIB, "what found room")
`;
    await nbdsh(server, image, script);
    const copy = `${image}.copy`;
    fs.copyFileSync(image, copy);
    expect([0, 3]).toContain(await check(format, copy));
    await runWell('qemu-io', ['-r', '-f', format, '-c', 'read -P 1 0 1M', copy]);
    await limit('unlimited:unlimited');
    await io(server, 'write -P 7 5M 3M', 'flush', 'read -P 7 5M 3M', 'read -P 1 0 1M');
    server.signal('SIGTERM');
    expect(await server.ended).toMatchObject({ code: 0 });
    expect([0, 3]).toContain(await check(format, image));
    await runWell('qemu-io', ['-r', '-f', format, '-c', 'read -P 7 5M 3M', image]);
  },
);

test('a LUKS image is read and written with its passphrase', async () => {
  const directory = workspace();
  const kind = { name: 'luks', format: 'luks', isEnciphered: true } as const;
  const image = await makeServed(
    directory,
    { ...kind, options: 'key-secret=key,iter-time=10' },
    MIB,
  );
  const args = [image, ...passphraseIn(directory)];
  const first = await startServer(directory, args);
  await io(first, 'write -P 6 100k 300k');
  await first.stop();
  expect(fs.readFileSync(image).includes(Buffer.alloc(512, 6))).toBe(false);
  const second = await startServer(directory, args);
  await io(second, 'read -P 6 100k 300k');
});
