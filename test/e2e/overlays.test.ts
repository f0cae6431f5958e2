import fs from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { needsPrograms, runWell } from '../tools/programs.ts';
import { startServer, type TestServer } from '../tools/server.ts';
import { MIB, makeImage, workspace } from '../tools/workspace.ts';

needsPrograms('curl', 'nbdcopy', 'nbdinfo', 'qemu-img', 'qemu-io');

const SIZE = 8 * MIB;

async function metric(directory: string, series: string): Promise<number> {
  const socket = path.join(directory, 'admin.sock');
  const page = await runWell('curl', ['-fsS', '--unix-socket', socket, 'http://tmem/metrics']);
  const line = page.split('\n').find((each) => each.startsWith(`${series} `));
  expect(line, series).toBeDefined();
  return Number(line?.slice(series.length + 1));
}

async function overlayOn(base: string, name: string, format = 'raw'): Promise<string> {
  const file = path.join(path.dirname(base), name);
  await runWell('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', base, '-F', format, file]);
  return file;
}

async function compare(server: TestServer, name: string, file: string, format: string) {
  const uri = server.uri(name);
  return runWell('qemu-img', ['compare', '-f', 'raw', '-F', format, uri, file]);
}

test('ten overlays of one base read each page of the base from disk once', async () => {
  const directory = workspace();
  const base = makeImage(directory, SIZE, 'base.raw');
  const names = Array.from({ length: 10 }, (_, i) => `disk${i}.qcow2`);
  const overlays = await Promise.all(names.map((name) => overlayOn(base, name)));
  const options = ['--memory', '128MiB', '--admin', `unix:${path.join(directory, 'admin.sock')}`];
  const server = await startServer(directory, [...options, ...overlays]);
  const baseReads = () => metric(directory, `tmem_image_reads_total{image="${base}"}`);

  await runWell('nbdcopy', [server.uri('disk0.qcow2'), 'null:']);
  const first = await baseReads();
  expect(first).toBeGreaterThan(0);
  for (const name of names) await compare(server, name, base, 'raw');
  expect(await baseReads()).toBe(first);

  // A page that is written is the overlay's own, for it alone.
  const write = (name: string, what: string) =>
    runWell('qemu-io', ['-f', 'raw', '-c', `write ${what}`, '-c', 'flush', server.uri(name)]);
  await write('disk3.qcow2', '-P 0x33 64k 128k');
  await write('disk4.qcow2', '-P 0x44 100k 1k');
  const read = (name: string, pattern: string) =>
    runWell('qemu-io', ['-f', 'raw', '-c', `read -P ${pattern} 100k 1k`, server.uri(name)]);
  await read('disk3.qcow2', '0x33');
  await read('disk4.qcow2', '0x44');
  for (const name of names.slice(5)) await compare(server, name, base, 'raw');
  const copy = path.join(directory, 'copy.raw');
  await runWell('nbdcopy', [server.uri('disk4.qcow2'), copy]);
  await server.stop();
  for (const overlay of overlays) await runWell('qemu-img', ['check', '-q', overlay]);
  await runWell('qemu-img', ['compare', '-f', 'qcow2', '-F', 'raw', overlays[4] ?? '', copy]);
});

test('ten overlays of a qcow2 base, written back, leave a third of 128 MiB to pages', async () => {
  const directory = workspace();
  const base = path.join(directory, 'base.qcow2');
  await runWell('qemu-img', ['create', '-q', '-f', 'qcow2', base, '8M']);
  const names = Array.from({ length: 10 }, (_, i) => `disk${i}.qcow2`);
  const overlays = await Promise.all(names.map((name) => overlayOn(base, name, 'qcow2')));
  const admin = ['--admin', `unix:${path.join(directory, 'admin.sock')}`];
  const options = ['--memory', '128MiB', '--mode', 'writeback', ...admin];
  const server = await startServer(directory, [...options, ...overlays]);
  const limitOf = (layer: string) =>
    metric(directory, `tmem_layer_memory_limit_bytes{layer="${layer}"}`);
  expect((await limitOf('hot')) + (await limitOf('zcache'))).toBeGreaterThan((128 * MIB) / 3);
  await server.stop();
});

test('block status tells how deep in a chain the data are, and which parts nobody has', async () => {
  const directory = workspace();
  const base = makeImage(directory, SIZE, 'base.raw');
  const overlay = await overlayOn(base, 'top.qcow2');
  await runWell('qemu-io', ['-c', 'write -P 1 1M 1M', '-c', 'write -z 2M 1M', overlay]);
  const server = await startServer(directory, [overlay]);
  const map = ['--map=qemu:allocation-depth', '--json', server.uri()];
  const depths = JSON.parse(await runWell('nbdinfo', map)) as { offset: number; type: number }[];
  expect(depths.map(({ offset, type }) => [offset / MIB, type])).toEqual([
    [0, 2],
    [1, 1],
    [3, 2],
  ]);
  const sparse = path.join(directory, 'sparse.qcow2');
  await runWell('nbdcopy', [server.uri(), path.join(directory, 'copy.raw')]);
  await runWell('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', server.uri(), sparse]);
  await runWell('qemu-img', ['compare', '-U', overlay, sparse]);
  expect(fs.statSync(sparse).size).toBeLessThan(0.8 * SIZE);
});

test('a RAM disk keeps what is written until the service ends', async () => {
  const directory = workspace();
  const server = await startServer(directory, ['--ram', 'scratch=8MiB']);
  await runWell('qemu-io', ['-f', 'raw', '-c', 'write -P 7 1M 1M', server.uri('scratch')]);
  const read = ['-c', 'read -P 7 1M 1M', '-c', 'read -P 0 2M 1M', server.uri('scratch')];
  await runWell('qemu-io', ['-f', 'raw', ...read]);
  await server.stop();
  const again = await startServer(directory, ['--ram', 'scratch=8MiB']);
  await runWell('qemu-io', ['-f', 'raw', '-c', 'read -P 0 0 8M', again.uri('scratch')]);
});
