import { expect, test } from 'vitest';
import { needsPrograms, runWell } from '../tools/programs.ts';
import { startServer } from '../tools/server.ts';
import { MIB, makeEmptyImage, makeImage, workspace } from '../tools/workspace.ts';

needsPrograms('nbdinfo');

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
