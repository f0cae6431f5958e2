import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import type { ExportStatus, WriteBackStatus } from '../../src/admin/api.ts';
import { needsPrograms, runWell } from '../tools/programs.ts';
import { runTmem, startServer, type TestServer } from '../tools/server.ts';
import { MIB, workspace } from '../tools/workspace.ts';

needsPrograms('nbdcopy', 'cmp');

let server: TestServer;
let written = '';
let admin = '';

/** A reader's image beside a swap device that has filled the memory, and its overflow with the rest. */
beforeEach(async () => {
  const directory = workspace();
  admin = `unix:${path.join(directory, 'admin')}`;
  written = path.join(directory, 'written');
  fs.writeFileSync(written, randomBytes(64 * MIB));
  const image = path.join(directory, 'disk.raw');
  fs.writeFileSync(image, randomBytes(48 * MIB));
  const swap = `sw=64MiB,overflow=${path.join(directory, 'overflow')}`;
  const options = ['--memory', '64MiB', '--advisor', 'off', '--admin', admin];
  server = await startServer(directory, [image, '--swap', swap, ...options]);
  await runWell('nbdcopy', [written, server.uri('sw')]);
  expect((await statusOf('sw')).memoryBytes).toBeGreaterThan(24 * MIB);
});

async function statusOf(name: string): Promise<ExportStatus> {
  const { stdout } = await runTmem(['ctl', 'exports', '--json', '--admin', admin]);
  const { exports } = JSON.parse(stdout) as { exports: ExportStatus[] };
  const found = exports.find((each) => each.name === name);
  if (found === undefined) throw new Error(`no export ${name}`);
  return found;
}

async function share(name: string, ...change: string[]): Promise<void> {
  const { code, stderr } = await runTmem(['ctl', 'share', name, ...change, '--admin', admin]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
}

const bytesOf = async (name: string) => (await statusOf(name)).memoryBytes;
const readDisk = () => runWell('nbdcopy', [server.uri('disk.raw'), 'null:']);

/** Every byte that was written to the device is read from it. */
const expectAll = () =>
  runWell('bash', ['-c', 'nbdcopy "$0" - | cmp - "$1"', server.uri('sw'), written]);

test('a swap device comes down to a cap that was lowered, though its pages are nowhere else', async () => {
  await share('sw', '--cap', '8MiB');
  while ((await bytesOf('sw')) > 8 * MIB);
  const { dirtyBytes } = (await statusOf('sw')).writeBack as WriteBackStatus;
  expect(dirtyBytes).toBeGreaterThan(4 * MIB); // it keeps what it may
  await expectAll();
  expect(await bytesOf('sw')).toBeLessThanOrEqual(8 * MIB);
});

test('a reader gets its share of the memory from a swap device that had all of it, by their weights', async () => {
  const both = (await bytesOf('sw')) + (await bytesOf('disk.raw'));
  while ((await bytesOf('disk.raw')) < 0.45 * both) await readDisk();
  expect(await bytesOf('sw')).toBeGreaterThan(0.4 * both); // and no more than that
  await share('disk.raw', '--weight', '300');
  while ((await bytesOf('disk.raw')) < 0.7 * both) await readDisk();
  expect(await bytesOf('sw')).toBeGreaterThan(0.2 * both);
  await share('sw', '--weight', '900');
  while ((await bytesOf('sw')) < 0.7 * both) await runWell('nbdcopy', [written, server.uri('sw')]);
  await expectAll();
});

test('a reader gets its minimum from a swap device of far more weight, which keeps the rest', async () => {
  await share('sw', '--weight', '10000');
  await share('disk.raw', '--minimum', '12MiB');
  const both = (await bytesOf('sw')) + (await bytesOf('disk.raw'));
  while ((await bytesOf('disk.raw')) < 11.5 * MIB) await readDisk();
  expect(await bytesOf('sw')).toBeGreaterThan(both - 16 * MIB);
  await expectAll();
});
