import path from 'node:path';
import { expect, test } from 'vitest';
import { needsPrograms, runWell } from '../tools/programs.ts';
import { startServer } from '../tools/server.ts';
import { MIB, makeEmptyImage, makeImage, workspace } from '../tools/workspace.ts';

needsPrograms('nbdinfo', 'qemu-img', 'qemu-io', 'qemu-nbd');

async function infoOf(uri: string): Promise<Record<string, unknown>[]> {
  const { exports } = JSON.parse(await runWell('nbdinfo', ['--json', uri]));
  return exports;
}

test('nbdinfo shows the size, the flags and the block sizes of a writable export', async () => {
  const directory = workspace();
  const server = await startServer(directory, [makeImage(directory, 3 * MIB + 512)]);
  expect(await infoOf(server.uri())).toEqual([
    expect.objectContaining({
      'export-name': 'disk.raw',
      'export-size': 3 * MIB + 512,
      contexts: ['base:allocation', 'qemu:allocation-depth'],
      is_rotational: false,
      is_read_only: false,
      can_cache: true,
      can_df: true,
      can_fast_zero: true,
      can_flush: true,
      can_fua: true,
      can_multi_conn: true,
      can_trim: true,
      can_zero: true,
      block_size_minimum: 1,
      block_size_preferred: 4096,
      block_size_maximum: 32 * MIB,
    }),
  ]);
});

test('nbdinfo shows that a read-only export takes no changes', async () => {
  const directory = workspace();
  const server = await startServer(directory, [makeImage(directory, MIB), '--mode', 'read-only']);
  expect(await infoOf(server.uri())).toEqual([
    expect.objectContaining({
      is_read_only: true,
      can_cache: true,
      can_multi_conn: true,
      can_flush: false,
      can_fua: false,
      can_trim: false,
      can_zero: false,
      can_fast_zero: false,
    }),
  ]);
});

test('nbdinfo lists every export by its name, in order', async () => {
  const directory = workspace();
  const first = makeImage(directory, MIB, 'first.raw');
  const second = makeImage(directory, 2 * MIB, 'second.raw');
  const server = await startServer(directory, [first, `zweite Platte=${second}`]);
  const listed = JSON.parse(await runWell('nbdinfo', ['--list', '--json', server.uri()]));
  expect(listed.exports).toEqual([
    expect.objectContaining({ 'export-name': 'first.raw', 'export-size': MIB }),
    expect.objectContaining({ 'export-name': 'zweite Platte', 'export-size': 2 * MIB }),
  ]);
  expect(await runWell('nbdinfo', ['--size', server.uri('zweite%20Platte')])).toBe(`${2 * MIB}\n`);
});

test('nbdinfo connects by every URI that is printed at the start', async () => {
  const directory = workspace();
  const image = makeImage(directory, MIB, 'a b.raw');
  const server = await startServer(directory, [image, '--listen', 'tcp:127.0.0.1:0']);
  const uris = server.stdout().match(/nbd\S*:\S+/g) ?? [];
  expect(uris).toHaveLength(4);
  for (const uri of uris) expect(await runWell('nbdinfo', ['--size', uri])).toBe(`${MIB}\n`);
});

test('nbdinfo --map shows the holes of a sparse image as they are', async () => {
  const directory = workspace();
  const server = await startServer(directory, [makeImage(directory, MIB)]);
  const map: unknown = JSON.parse(await runWell('nbdinfo', ['--map', '--json', server.uri()]));
  const extent = (offset: number, length: number, type: number) =>
    expect.objectContaining({ offset: offset * 65536, length: length * 65536, type });
  expect(map).toEqual([
    ...[extent(0, 1, 0), extent(1, 1, 3), extent(2, 3, 0), extent(5, 1, 3), extent(6, 3, 0)],
    ...[extent(9, 1, 3), extent(10, 3, 0), extent(13, 1, 3), extent(14, 2, 0)],
  ]);
});

test('nbdinfo --map describes 5 TiB of nothing', async () => {
  const directory = workspace();
  const sizeBytes = 5 * 1024 * 1024 * MIB;
  const server = await startServer(directory, [makeEmptyImage(directory, sizeBytes)]);
  const totals = JSON.parse(
    await runWell('nbdinfo', ['--map', '--totals', '--json', server.uri()]),
  );
  expect(totals).toEqual([expect.objectContaining({ size: sizeBytes, type: 3 })]);
});

const ZEROES = ['-z 256k 64k', '-P 1 512k 64k', '-zu 512k 64k'];

test.each([
  ['qcow2', []],
  ['qcow2', ['-o', 'extended_l2=on']],
  ['qcow2', ['-o', 'compat=0.10']],
  ['qed', []],
  ['vmdk', ['-o', 'zeroed_grain=on']],
])('nbdinfo --map shows of %s with %j what it shows of qemu-nbd', async (format, settings) => {
  const directory = workspace();
  const file = path.join(directory, `disk.${format}`);
  await runWell('qemu-img', ['create', '-q', '-f', format, ...settings, file, '1M']);
  const writes = ['-P 1 0 128k', ...ZEROES].flatMap((each) => ['-c', `write -q ${each}`]);
  await runWell('qemu-io', ['-f', format, ...writes, file]);
  const theirs = await runWell('nbdinfo', [
    ...['--map', '--', '[', 'qemu-nbd', '-r', '-f', format, file, ']'],
  ]);
  const server = await startServer(directory, [file, '--mode', 'read-only']);
  expect(await runWell('nbdinfo', ['--map', server.uri()])).toBe(theirs);
  expect(theirs).toMatch(/ 3 +hole,zero\n/);
});

test('nbdinfo --map shows zeros of qcow2 that have space as no hole', async () => {
  const directory = workspace();
  const file = path.join(directory, 'disk.qcow2');
  await runWell('qemu-img', ['create', '-q', '-f', 'qcow2', file, '1M']);
  const writes = ['-P 1 0 128k', '-z 64k 64k', '-z 256k 64k'];
  const commands = writes.flatMap((each) => ['-c', `write -q ${each}`]);
  await runWell('qemu-io', ['-f', 'qcow2', ...commands, file]);
  const server = await startServer(directory, [file]);
  const map: unknown = JSON.parse(await runWell('nbdinfo', ['--map', '--json', server.uri()]));
  const extent = (offset: number, length: number, type: number) =>
    expect.objectContaining({ offset: offset * 65536, length: length * 65536, type });
  expect(map).toEqual([extent(0, 1, 0), extent(1, 1, 2), extent(2, 14, 3)]);
});
