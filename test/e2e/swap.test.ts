import fs from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { runFio } from '../tools/fio.ts';
import { nbdsh } from '../tools/nbdsh.ts';
import { needsPrograms, runProgram, runWell } from '../tools/programs.ts';
import { startServer, TMEM } from '../tools/server.ts';
import { MIB, workspace } from '../tools/workspace.ts';

needsPrograms('fio', 'nbdsh', 'curl');

/** A server of one swap device and nothing else, with 32 MiB of memory. */
async function startSwap(device: string, ...options: string[]) {
  const directory = workspace();
  const admin = path.join(directory, 'admin');
  const text = device.replace('DIRECTORY', directory);
  const args = ['--swap', text, '--memory', '32MiB', '--admin', `unix:${admin}`, ...options];
  const server = await startServer(directory, args);
  const metric = async (name: string): Promise<number> => {
    const page = await runWell('curl', ['-s', '--unix-socket', admin, 'http://tmem/metrics']);
    return Number(new RegExp(`^${name}(?:\\{.*\\})? (\\S+)$`, 'm').exec(page)?.[1]);
  };
  return { directory, server, metric, script: path.join(directory, 'script') };
}

test('a swap device keeps what is written, frees what is trimmed, and promises no FLUSH', async () => {
  const { server, metric, script } = await startSwap('s=64MiB');
  await nbdsh(
    server,
    script,
    `
h = connect()
assert h.get_size() == 64 * MIB
assert not h.can_flush() and not h.can_fua() and h.can_trim() and h.can_zero()
data = random.randbytes(4 * MIB)
h.pwrite(data, 1 * MIB)
h.pwrite(b"z" * 1000, 1 * MIB + 100)
data = data[:100] + b"z" * 1000 + data[1100:]
same(h.pread(4 * MIB, 1 * MIB), data, "what was written")
same(h.pread(4096, 32 * MIB), bytes(4096), "what was never written")
`,
  );
  const before = await metric('tmem_account_memory_bytes');
  expect(before).toBeGreaterThan(4 * MIB);
  await nbdsh(
    server,
    script,
    `
h = connect()
h.trim(4 * MIB, 1 * MIB)
same(h.pread(4 * MIB, 1 * MIB), bytes(4 * MIB), "what was trimmed")
`,
  );
  expect(await metric('tmem_account_memory_bytes')).toBeLessThan(before / 8);
});

test('a full device without overflow answers ENOSPC, says so before, and keeps what it has', async () => {
  const { server, metric, script } = await startSwap('s=256MiB');
  const size = String.raw`\d[\w.]*MiB`;
  server.expectAtEnd(
    new RegExp(`^tmem: swap device "s" is full with ${size} of its 256MiB: [^\n]*\n$`),
  );
  await nbdsh(
    server,
    script,
    `
h = connect()
rng = random.Random(1)
count = 0
try:
    while True:
        h.pwrite(rng.randbytes(65536), count * 65536)
        count += 1
        assert count < 1024, "it never was full"
except nbd.Error as error:
    assert error.errnum == errno.ENOSPC, error
assert count * 65536 > 12 * MIB, count
rng = random.Random(1)
for i in range(count):
    same(h.pread(65536, i * 65536), rng.randbytes(65536), f"run {i}")
`,
  );
  expect(await metric('tmem_persistent_ratio')).toBeGreaterThan(0.8);
  await server.waitForStderr(/is full/);
  await nbdsh(
    server,
    script,
    `
h = connect()
h.trim(8 * MIB, 0)
h.pwrite(b"again" * 13107, 0)
same(h.pread(65535, 0), b"again" * 13107, "what was written after a trim")
`,
  );
});

test.each(['0', '25%', '75%'])(
  'fio verifies a device four times the memory that overflows into a file, clean pages not twice, --hot %s',
  async (hot) => {
    const device = 's=128MiB,overflow=DIRECTORY/s.overflow';
    const { directory, server, metric } = await startSwap(device, '--hot', hot);
    const share = 32 * MIB;
    const shared = { rw: 'randwrite', bs: '4k', verify: 'crc32c', verify_fatal: 1, iodepth: 16 };
    const jobs = Array.from({ length: 4 }, (_, i) => ({
      name: `job${i}`,
      uri: server.uri(),
      options: { offset: i * share },
    }));
    const noise = { refill_buffers: true as const, size: share, loops: 2 };
    await runFio(directory, { ...shared, ...noise }, jobs);
    expect(await metric('tmem_overflow_live_bytes')).toBeGreaterThan(64 * MIB);
    expect(await metric('tmem_overflow_damaged_total')).toBe(0);
    expect(await metric('tmem_writeback_clean_pages_total')).toBe(0);
    expect(fs.statSync(path.join(directory, 's.overflow')).mode & 0o777).toBe(0o600);
  },
);

test('an overflow that cannot be written is told of, without the FLUSH that a swap device does not take', async () => {
  const { server, script } = await startSwap('s=128MiB,overflow=DIRECTORY/s.overflow');
  await runWell('prlimit', ['--pid', String(server.pid), `--fsize=${MIB}:`]);
  server.expectAtEnd(/the next try is in \d+ s\n/);
  await nbdsh(
    server,
    script,
    `
h = connect()
rng = random.Random(1)
try:
    for i in range(1024):
        h.pwrite(rng.randbytes(65536), i * 65536)
except nbd.Error as error:
    assert error.errnum == errno.ENOSPC, error
`,
  );
  await server.waitForStderr(/export "s" could not be written back .*\n.*the next try is in/);
  expect(server.stderr()).not.toContain('FLUSH');
});

test('a file that is no overflow file is not touched', async () => {
  const directory = workspace();
  const file = path.join(directory, 'precious');
  fs.writeFileSync(file, 'a letter to a friend');
  const args = [TMEM, 'serve', '--swap', `s=64MiB,overflow=${file}`, '--admin', 'none'];
  const { code, stderr } = await runProgram(process.execPath, args, { directory });
  expect(code).toBe(2);
  expect(stderr).toMatch(/precious/);
  expect(fs.readFileSync(file, 'utf8')).toBe('a letter to a friend');
});
