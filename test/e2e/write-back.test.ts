import fs from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { runFio } from '../tools/fio.ts';
import { nbdsh } from '../tools/nbdsh.ts';
import { needsPrograms, runWell } from '../tools/programs.ts';
import { startServer } from '../tools/server.ts';
import { MIB, makeEmptyImage, workspace } from '../tools/workspace.ts';

needsPrograms('fio', 'nbdsh', 'curl', 'prlimit');

const JOBS = 4;
/** A million writes and as many reads take their time on a busy machine. */
const PATIENCE_MS = 600_000;

/** A server that writes back, on an empty image. */
async function startWriteBack(sizeBytes: number, ...options: string[]) {
  const directory = workspace();
  const image = makeEmptyImage(directory, sizeBytes);
  const admin = path.join(directory, 'admin');
  const args = ['--mode', 'writeback', '--admin', `unix:${admin}`, ...options];
  const server = await startServer(directory, [image, ...args]);
  const metric = async (name: string): Promise<number> => {
    const text = await runWell('curl', ['-s', '--unix-socket', admin, 'http://tmem/metrics']);
    return Number(new RegExp(`^${name}(?:\\{.*\\})? (\\S+)$`, 'm').exec(text)?.[1]);
  };
  return { directory, image, server, metric };
}

/** Loops over the image so that so many blocks of 4 KiB are written, and verified. */
async function verify(sizeBytes: number, writes: number, ...options: string[]): Promise<void> {
  const { directory, server, metric } = await startWriteBack(sizeBytes, ...options);
  const share = sizeBytes / JOBS;
  const loops = Math.ceil(writes / (sizeBytes / 4096));
  const shared = { rw: 'randwrite', bs: '4k', verify: 'crc32c', verify_fatal: 1 };
  const jobs = Array.from({ length: JOBS }, (_, i) => ({
    name: `job${i}`,
    uri: server.uri(),
    options: { offset: i * share },
  }));
  const more = { iodepth: 16, size: share, loops };
  for (const result of await runFio(directory, { ...shared, ...more }, jobs, PATIENCE_MS)) {
    expect(result.writtenBytes).toBeGreaterThanOrEqual((writes / JOBS) * 4096);
    expect(result.readBytes).toBeGreaterThan(0);
  }
  expect(await metric('tmem_writeback_lost_pages')).toBe(0);
  const limit = await metric('tmem_memory_limit_bytes');
  const kinds = ['data', 'metadata', 'buffers'].map((kind) =>
    metric(`tmem_memory_bytes\\{kind="${kind}"\\}`),
  );
  const [data = 0, metadata = 0, buffers = 0] = await Promise.all(kinds);
  expect(data + metadata + buffers).toBeLessThanOrEqual(limit);
}

test(
  'fio verifies a million random writes over four connections, in a tenth of the memory',
  () => verify(320 * MIB, 1_000_000, '--memory', '32MiB'),
  PATIENCE_MS,
);

test.each([['--hot', '0'], ['--hot', '90%'], ['--dirty-limit', '4MiB'], ['--buffered']])(
  'fio verifies random writes that are written back, %s',
  (...option) => verify(64 * MIB, 32_768, '--memory', '32MiB', ...option),
);

test('a FLUSH on one connection brings what others wrote to the image', async () => {
  const { image, server } = await startWriteBack(16 * MIB);
  await nbdsh(
    server,
    image,
    `
a, b = connect(), connect()
assert a.can_multi_conn() and a.can_flush() and a.can_fua()
data = bytes(random.randbytes(5 * 4096 + 512))
a.pwrite(data, 3 * 4096 + 512)
same(b.pread(len(data), 3 * 4096 + 512), data, "what the other wrote")
b.flush()
same(file_bytes(len(data), 3 * 4096 + 512), data, "what is on the image")
a.pwrite(b"x" * 512, 8 * MIB)
b.pwrite(b"y" * 4096, 9 * MIB, nbd.CMD_FLAG_FUA)
same(file_bytes(512, 8 * MIB), b"x" * 512, "what came before a write with FUA")
same(file_bytes(4096, 9 * MIB), b"y" * 4096, "a write with FUA")
`,
  );
});

test('TRIM and WRITE_ZEROES free memory at once and read as zeros', async () => {
  const { image, server, metric } = await startWriteBack(16 * MIB);
  await nbdsh(server, image, 'h = connect()\nh.pwrite(random.randbytes(4 * MIB), 0)');
  expect(await metric('tmem_dirty_bytes')).toBe(4 * MIB);
  await nbdsh(
    server,
    image,
    `
h = connect()
h.zero(MIB + 100, 50)
h.trim(2 * MIB - 8192, 2 * MIB + 8192)
same(h.pread(2 * MIB - 8192, 2 * MIB + 8192), bytes(2 * MIB - 8192), "what was trimmed")
same(h.pread(MIB + 100, 50), bytes(MIB + 100), "what was zeroed")
assert h.pread(50, 0) != bytes(50) and h.pread(100, MIB + 150) != bytes(100)
`,
  );
  expect(await metric('tmem_dirty_bytes')).toBeLessThanOrEqual(2 * MIB);
});

test('SIGTERM brings everything to the image', async () => {
  const { image, server } = await startWriteBack(16 * MIB);
  await nbdsh(server, image, 'h = connect()\nh.pwrite(b"tmem" * (2 * MIB), 4 * MIB)');
  await server.stop();
  const content = fs.readFileSync(image).subarray(4 * MIB, 12 * MIB);
  expect(content.equals(Buffer.alloc(8 * MIB, 'tmem'))).toBe(true);
});

/** Lets the process write files only up to a size, as a full disk would. */
async function limitFiles(pid: number, bytes: number | 'unlimited'): Promise<void> {
  await runWell('prlimit', ['--pid', String(pid), `--fsize=${bytes}:`]);
}

test('a disk that refuses writes loses nothing: FLUSH tells, reads answer, and it heals', async () => {
  const { image, server, metric } = await startWriteBack(16 * MIB);
  await limitFiles(server.pid, 4 * MIB);
  await nbdsh(
    server,
    image,
    `
h = connect()
h.pwrite(b"tmem" * 4096, 8 * MIB)
refused(errno.ENOSPC, h.flush)
same(h.pread(16384, 8 * MIB), b"tmem" * 4096, "what the disk refused")
h.pwrite(b"x" * 4096, 0)
refused(errno.ENOSPC, h.flush)
same(file_bytes(4096, 0), b"x" * 4096, "what the disk took meanwhile")
`,
  );
  expect(await metric('tmem_writeback_failing_pages')).toBe(4);
  expect(await metric('tmem_writeback_failures_total')).toBeGreaterThanOrEqual(2);
  expect(server.stderr()).toMatch(/16KiB at offset 8388608 of export "disk.raw" could not/);
  await limitFiles(server.pid, 'unlimited');
  await nbdsh(server, image, 'h = connect()\nh.flush()');
  expect(await metric('tmem_dirty_bytes')).toBe(0);
  expect(await metric('tmem_writeback_failing_pages')).toBe(0);
  const content = fs.readFileSync(image).subarray(8 * MIB, 8 * MIB + 16_384);
  expect(content.equals(Buffer.alloc(16_384, 'tmem'))).toBe(true);
  server.signal('SIGTERM');
  expect(await server.ended).toMatchObject({ code: 0 });
});

test('SIGTERM says what could not be written within the time, and the exit code is 1', async () => {
  const { image, server } = await startWriteBack(16 * MIB, '--drain-timeout', '1');
  await limitFiles(server.pid, 4 * MIB);
  await nbdsh(server, image, 'h = connect()\nh.pwrite(b"tmem" * 4096, 8 * MIB)');
  server.signal('SIGTERM');
  const { code, stderr } = await server.ended;
  expect(code).toBe(1);
  expect(stderr).toMatch(/16KiB of export "disk.raw" could not be written to .* and are lost/);
});
