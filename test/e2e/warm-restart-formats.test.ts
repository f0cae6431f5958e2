import fs from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { nbdsh } from '../tools/nbdsh.ts';
import { needsPrograms, runWell } from '../tools/programs.ts';
import { startServer, type TestServer } from '../tools/server.ts';
import { MIB, makeImage, workspace } from '../tools/workspace.ts';

needsPrograms('curl', 'nbdsh', 'qemu-img', 'qemu-io');

const SIZE = 2 * MIB;
const PAGES = SIZE / 4096;

/** One service after the other, with one snapshot; images are converted from one raw image. */
function warmed() {
  const directory = workspace();
  const raw = makeImage(directory, SIZE, 'base.raw');
  const at = (name: string) => path.join(directory, name);
  const curl = (url: string, ...more: string[]) =>
    runWell('curl', ['-s', '--unix-socket', at('admin'), ...more, `http://tmem${url}`]);
  const metric = async (series: string): Promise<number> => {
    const text = await curl('/metrics');
    const line = text.split('\n').find((each) => each.startsWith(`${series} `)) ?? '';
    return Number(line.slice(series.length));
  };
  return {
    raw,
    at,
    curl,
    make: async (format: string, name: string, ...options: string[]): Promise<string> => {
      await runWell('qemu-img', ['convert', '-O', format, ...options, raw, at(name)]);
      return at(name);
    },
    start: (...args: string[]) => {
      const places = ['--snapshot', at('warm'), '--admin', `unix:${at('admin')}`];
      return startServer(directory, [...args, '--memory', '64MiB', ...places]);
    },
    /** How many of the `count` pages of the last snapshot were loaded, when all were looked at. */
    loaded: async (count: number): Promise<number> => {
      const outcomes = ['loaded', 'present', 'changed', 'stale', 'damaged'];
      for (;;) {
        const counts: number[] = [];
        for (const each of outcomes) {
          counts.push(await metric(`tmem_snapshot_pages{outcome="${each}"}`));
        }
        if (counts.reduce((sum, each) => sum + each, 0) >= count) return counts[0] ?? 0;
      }
    },
  };
}

const io = (server: TestServer, ...commands: string[]) =>
  runWell('qemu-io', ['-f', 'raw', ...commands.flatMap((c) => ['-c', c]), server.uri()]);

/** Holes too, which a copying client would leave out. */
const readAll = (server: TestServer) =>
  runWell('qemu-io', ['-f', 'raw', '-r', '-c', `read 0 ${SIZE}`, server.uri()]);

/** A service that was told to stop, and may have warned of what it does not use. */
async function end(server: TestServer): Promise<string> {
  server.signal('SIGTERM');
  const { code, stderr } = await server.ended;
  expect(code).toBe(0);
  return stderr;
}

test.each([
  ['qcow2', 'writethrough'],
  ['qcow2', 'writeback'],
  ['qed', 'writeback'],
  ['vmdk', 'writethrough'],
])('the pages of a %s image are there after a restart, and right, %s', async (format, mode) => {
  const world = warmed();
  const image = await world.make(format, `disk.${format}`);
  const first = await world.start(image, '--mode', mode);
  await io(first, 'write -P 7 70k 9k', 'write -P 8 512k 64k', 'write -z 1M 128k');
  await readAll(first);
  await first.stop();
  const second = await world.start(image, '--mode', mode);
  expect(await world.loaded(PAGES)).toBe(PAGES);
  await io(second, 'read -P 7 70k 9k', 'read -P 8 512k 64k', 'read -P 0 1M 128k');
  await end(second);
  await runWell('qemu-io', ['-f', format, '-r', '-c', 'read -P 7 70k 9k', image]);
});

test('of an overlay only the pages of its base are kept, and not when that has changed', async () => {
  const world = warmed();
  const overlay = world.at('top.qcow2');
  const on = ['-b', 'base.raw', '-F', 'raw'];
  await runWell('qemu-img', ['create', '-q', '-f', 'qcow2', ...on, overlay]);
  const first = await world.start(overlay);
  await io(first, 'write -P 9 100k 1k', 'write -P 6 512k 64k');
  await readAll(first);
  await first.stop();
  const second = await world.start(overlay);
  const kept = PAGES - (64 + 64) / 4; // two clusters are the overlay's own
  expect(await world.loaded(kept)).toBe(kept);
  await io(second, 'read -P 9 100k 1k', 'read -P 6 512k 64k');
  await end(second);
  await runWell('qemu-io', ['-f', 'raw', '-c', 'write -P 1 0 64k', world.raw]);
  await runWell('qemu-io', ['-f', 'raw', '-c', 'write -P 2 1M 64k', world.raw]);
  const third = await world.start(overlay);
  await io(third, 'read -P 1 0 64k', 'read -P 2 1M 64k', 'read -P 9 100k 1k');
  expect(await world.loaded(kept)).toBe(0);
  await end(third);
});

test('pages of a file are not used where it is read as something else', async () => {
  const world = warmed();
  const image = await world.make('qcow2', 'disk.qcow2');
  await runWell('qemu-img', ['snapshot', '-c', 'before', image]);
  await runWell('qemu-io', ['-c', 'write -P 3 0 64k', image]);
  const readings = [[], ['--load-snapshot', 'before'], ['--format', 'raw']];
  for (const [i, reading] of readings.entries()) {
    const server = await world.start(image, '--mode', 'read-only', ...reading);
    await readAll(server);
    if (i > 0) expect(await world.loaded(PAGES)).toBe(0);
    const read = ['-f', 'raw', '-r', '-c', 'read -P 3 0 64k', server.uri()];
    if (i === 0) await runWell('qemu-io', read);
    else await expect(runWell('qemu-io', read)).rejects.toThrow(/verification failed/);
    await end(server);
  }
});

test('pages that are in no table of the file yet are not used when the service was killed', async () => {
  const world = warmed();
  const image = world.at('disk.qcow2');
  await runWell('qemu-img', ['create', '-q', '-f', 'qcow2', image, `${SIZE}`]);
  const first = await world.start(image);
  await io(first, 'write -P 4 0 1M', 'flush');
  // qemu-io would flush behind it.
  const change = 'h = connect()\nh.zero(64 * KIB, 0)\nh.pwrite(b"5" * 256 * KIB, 1 * MIB)\n';
  await nbdsh(first, image, change);
  const saved = JSON.parse(await world.curl('/v1/snapshot', '-X', 'POST'));
  expect(saved.pages).toBeGreaterThanOrEqual(256);
  first.signal('SIGKILL');
  await first.ended;
  const copy = world.at('copy.qcow2');
  fs.copyFileSync(image, copy);
  const second = await world.start(image, '--mode', 'read-only');
  await world.loaded(1);
  await runWell('qemu-img', ['compare', '-f', 'raw', '-F', 'qcow2', second.uri(), copy]);
  await end(second);
});
