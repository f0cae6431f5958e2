import fs from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { needsPrograms, runWell } from '../tools/programs.ts';
import { startServer } from '../tools/server.ts';
import { MIB, makeImage, workspace } from '../tools/workspace.ts';

needsPrograms('curl', 'promtool', 'nbdcopy', 'qemu-io');

const SIZE = 16 * MIB;

/** The value of the one sample that begins with `name`, labels included. */
function sample(page: string, name: string): number {
  const found = page.split('\n').filter((line) => line.startsWith(`${name} `));
  expect(found, name).toHaveLength(1);
  return Number(found[0]?.slice(name.length + 1));
}

test('what clients did shows in metrics that promtool accepts', async () => {
  const directory = workspace();
  const socket = path.join(directory, 'admin.sock');
  const get = (target: string) => runWell('curl', ['-fsS', '--unix-socket', socket, target]);
  const options = ['--memory', '64MiB', '--admin', `unix:${socket}`];
  const server = await startServer(directory, [makeImage(directory, SIZE), ...options]);
  expect(await get('http://tmem/healthz')).toBe('ok\n');
  expect(await get('http://tmem/readyz')).toBe('ready\n');

  await runWell('nbdcopy', [server.uri(), 'null:']);
  const first = await get('http://tmem/metrics');
  await runWell('nbdcopy', [server.uri(), 'null:']);
  const write = ['-f', 'raw', '-c', 'write -P 1 0 1M', '-c', 'flush', server.uri()];
  await runWell('qemu-io', write);
  const page = await get('http://tmem/metrics');

  const file = path.join(directory, 'metrics.txt');
  fs.writeFileSync(file, page);
  expect(await runWell('bash', ['-c', 'promtool check metrics <"$0" 2>&1', file])).toBe('');
  const backing = (op: string) => `tmem_backing_bytes_total{export="disk.raw",op="${op}"}`;
  expect(sample(first, backing('read'))).toBeGreaterThan(SIZE / 2);
  expect(sample(page, backing('read'))).toBe(sample(first, backing('read')));
  expect(sample(page, backing('write'))).toBe(MIB);
  const requests = (command: string) =>
    `tmem_nbd_requests_total{export="disk.raw",command="${command}",error=""}`;
  expect(sample(page, requests('read'))).toBe(2 * sample(first, requests('read')));
  expect(sample(page, requests('write'))).toBeGreaterThan(0);
  expect(sample(page, requests('flush'))).toBeGreaterThan(0);
  expect(sample(page, 'tmem_nbd_connections')).toBe(0);
  expect(sample(page, 'tmem_memory_limit_bytes')).toBe(64 * MIB);
});
