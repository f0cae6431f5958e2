import fs from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { type Recorded, recorded } from '../replay/live/recorded.ts';
import { leaveOutWithout, runProgram, runWell } from '../tools/programs.ts';
import { runTmem, startServer, TMEM } from '../tools/server.ts';
import { MIB, makeEmptyImage, workspace } from '../tools/workspace.ts';

const MIXED: readonly Recorded[] = Array.from({ length: 700 }, (_, i) => ({
  op: (['read', 'write', 'trim', 'zero', 'flush', 'read', 'read'] as const)[i % 7] ?? 'read',
  offset: i * 8192,
  length: 8192,
  atUs: i * 100,
}));
const OPS = { read: 300, write: 100, trim: 100, zero: 100, flush: 100 };

/** Runs a replay as the one client of a server that takes `$uri` to it, and ends with it. */
async function replayUnder(program: string, args: readonly string[], replay: readonly string[]) {
  const command = [process.execPath, TMEM, 'replay', '--live', '"$uri"', '--json', ...replay];
  return runProgram(program, [...args, '--run', command.join(' ')]);
}

test('nbdkit counts as many requests of each kind as a replay says it sent', async ({ skip }) => {
  leaveOutWithout(skip, 'nbdkit');
  const statistics = path.join(workspace(), 'statistics');
  const server = ['-U', '-', '--filter=stats', 'memory', '16M', `statsfile=${statistics}`];
  const file = await recorded(MIXED);
  const replay = ['--allow-writes', '--connections', '4', '--speed', '2', file];
  const { code, stdout, stderr } = await replayUnder('nbdkit', server, replay);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  const { ops, errors, lagUs, plannedSeconds, elapsedSeconds } = JSON.parse(stdout);
  const sent = Object.entries(ops).map(([op, each]) => [
    op,
    (each as { readonly requests: number }).requests,
  ]);
  expect(Object.fromEntries(sent)).toEqual(OPS);
  expect(errors).toBe(0);
  expect(plannedSeconds).toBeCloseTo(0.035, 2);
  expect(elapsedSeconds).toBeGreaterThanOrEqual(plannedSeconds);
  expect(lagUs.p99).toBeGreaterThan(0);
  const counted = fs.readFileSync(statistics, 'utf8').matchAll(/^(\w+): (\d+) ops/gm);
  const { total, ...counts } = Object.fromEntries([...counted].map(([, op, n]) => [op, Number(n)]));
  expect(counts).toEqual(OPS);
  expect(total).toBe(700);
});

test('qemu-nbd takes a replay over two connections, and its image has the writes', async ({
  skip,
}) => {
  leaveOutWithout(skip, 'qemu-nbd');
  const directory = workspace();
  const image = makeEmptyImage(directory, 16 * MIB);
  const socket = path.join(directory, 'qemu.sock');
  // Without -t it ends when the last client has left.
  await runWell('qemu-nbd', ['--fork', '-f', 'raw', '-e', '2', '-k', socket, image]);
  const writes = MIXED.map(
    (each) => ({ ...each, op: each.op === 'trim' ? 'read' : each.op }) as const,
  );
  const uri = `nbd+unix:///?socket=${socket}`;
  const { code, stdout } = await runTmem([
    ...['replay', '--live', uri, '--as-fast-as-possible', '--allow-writes', '--connections', '2'],
    ...['--json', await recorded(writes)],
  ]);
  expect(code).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({ requests: 700, errors: 0, lagUs: null, speed: null });
  const content = fs.readFileSync(image);
  for (const [i, { op, offset = 0, length = 0 }] of writes.entries()) {
    const hasContent = content.subarray(offset, offset + length).some((byte) => byte !== 0);
    expect(hasContent, `${i} ${op}`).toBe(op === 'write');
  }
});

test('errors of a server are counted by name, and the exit code says so', async ({ skip }) => {
  leaveOutWithout(skip, 'nbdkit');
  const server = ['-U', '-', '--filter=error', 'memory', '16M', 'error-pread-rate=100%'];
  const { code, stdout } = await replayUnder('nbdkit', server, [
    ...['--as-fast-as-possible', await recorded(MIXED)],
  ]);
  expect(code).toBe(1);
  expect(JSON.parse(stdout)).toMatchObject({
    errors: 300,
    ops: { read: { errors: { EIO: 300 } } },
  });
});

test('what several exports recorded is replayed on the exports of their names', async () => {
  const directory = workspace();
  const images = ['a', 'b'].map((name) => makeEmptyImage(directory, 4 * MIB, name));
  const file = path.join(directory, 'run.trace');
  const server = await startServer(directory, ['--memory', '48MiB', '--record', file, ...images]);
  const uri = server.uri();
  const requests = [{ op: 'read' }, { op: 'read', volume: 1 }, { op: 'read', volume: 1 }] as const;
  const from = await recorded(requests, ['a', 'b']);
  const { code, stdout } = await runTmem(['replay', '--live', uri, from]);
  expect(code).toBe(0);
  expect(stdout).toMatch(/^3 requests of a.trace to nbd/);
  expect(stdout).toMatch(/lag of the driver/);
  await server.stop();
  const info = await runTmem(['trace', 'info', '--json', file]);
  expect(JSON.parse(info.stdout).volumes).toMatchObject([
    ...[
      { name: 'a', requests: 1 },
      { name: 'b', requests: 2 },
    ],
  ]);
});

test.each([
  [['--live', 'nbd+unix:///?socket=/nowhere/s'], /there is no such socket/],
  [['--live', 'nbds://localhost/'], /TLS/],
  [['--live', 'http://localhost/'], /is no NBD URI/],
  [['--live', 'nbd://localhost/', '--speed', '0'], /--speed/],
  [['--live', 'nbd://localhost/', '--speed', '9999999'], /above 0 and up to 1000000/],
  [['--live', 'nbd://localhost/', '--speed', '2', '--as-fast-as-possible'], /two wishes/],
  [['--live', 'nbd://localhost/', '--connections', '0'], /--connections/],
])('replay %j is refused with a sentence', async (options, message) => {
  const { code, stdout, stderr } = await runTmem(['replay', ...options, await recorded(MIXED)]);
  expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
  expect(stderr).toMatch(message);
});

test('a trace from the standard input is refused as a pipe, which can be read once', async () => {
  const line = 'cat "$1" | "$2" "$3" replay --live nbd://localhost/ -';
  const args = ['-c', line, 'sh', await recorded(MIXED), process.execPath, TMEM];
  const { code, stderr } = await runProgram('sh', args);
  expect([code, stderr]).toEqual([2, expect.stringContaining('comes through a pipe')]);
});
