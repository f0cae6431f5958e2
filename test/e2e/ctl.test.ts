import path from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import type { ExportStatus, LayerStatus, PoolStatus } from '../../src/admin/api.ts';
import { needsPrograms, runWell } from '../tools/programs.ts';
import { runTmem, startServer, type TestServer } from '../tools/server.ts';
import { MIB, makeImage, workspace } from '../tools/workspace.ts';

needsPrograms('nbdcopy');

const SIZE = 16 * MIB;

let server: TestServer;
let admin = '';

beforeEach(async () => {
  const directory = workspace();
  admin = `unix:${path.join(directory, 'admin.sock')}`;
  const image = makeImage(directory, SIZE);
  server = await startServer(directory, [image, '--memory', '64MiB', '--admin', admin]);
});

const ctl = (...args: string[]) => runTmem(['ctl', ...args, '--admin', admin]);

/** What a verb that must succeed says. */
async function said(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await ctl(...args);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return stdout;
}

async function ask<Answer>(...args: string[]): Promise<Answer> {
  return JSON.parse(await said(...args, '--json')) as Answer;
}

const readAll = () => runWell('nbdcopy', [server.uri(), 'null:']);
const pagesOf = async () => (await ask<{ pools: PoolStatus[] }>('pools')).pools[0]?.pages ?? -1;

test('a frozen service takes no pages until it is thawed', async () => {
  expect(await said('freeze')).toMatch(/^frozen: /);
  const { layers } = await ask<{ layers: LayerStatus[] }>('layers');
  expect(layers.map(({ isFrozen }) => isFrozen)).toEqual([true, true]);
  await readAll();
  expect(await pagesOf()).toBe(0);
  expect(await said('thaw')).toMatch(/^thawed: /);
  await readAll();
  expect(await pagesOf()).toBeGreaterThan(0);
});

test('pages that are flushed are gone, and the content is the same', async () => {
  const digest = async () => {
    const line = `nbdcopy "$0" - | sha256sum`;
    return runWell('bash', ['-c', line, server.uri()]);
  };
  const content = await digest();
  const before = await pagesOf();
  const [pool] = (await ask<{ pools: PoolStatus[] }>('pools')).pools;
  expect(await said('flush', `pool:${pool?.id}`, '0', '0')).toBe('dropped 1 page\n');
  expect(await pagesOf()).toBe(before - 1);
  const { flushedPages } = await ask<{ flushedPages: number }>('flush', `pool:${pool?.id}`);
  expect(flushedPages).toBe(before - 1);
  expect(await pagesOf()).toBe(0);
  expect(await digest()).toBe(content);
});

test('what shrink gives back is not freeable any more', async () => {
  await readAll();
  const { freeableBytes: before } = await ask<{ freeableBytes: number }>('freeable');
  expect(before).toBeGreaterThan(MIB);
  const { freedBytes } = await ask<{ freedBytes: number }>('shrink', '1MiB');
  expect(freedBytes).toBeGreaterThanOrEqual(MIB);
  const { freeableBytes } = await ask<{ freeableBytes: number }>('freeable');
  expect(freeableBytes).toBeLessThan(before);
});

test('a share that is set is in force and listed', async () => {
  const set = await said('share', 'disk.raw', '--weight', '200', '--cap', '8MiB');
  expect(set).toBe('disk.raw: weight 200, cap 8MiB, minimum 0B\n');
  const { exports } = await ask<{ exports: ExportStatus[] }>('exports');
  expect(exports[0]?.share).toEqual({ weight: 200, capBytes: 8 * MIB, minimumBytes: 0 });
  expect(await said('share', 'disk.raw', '--cap', 'none')).toContain('weight 200, cap none');
  expect(await said('pools')).toMatch(/^pool:\d+ +export:disk\.raw +ephemeral .* 200 +none +0B$/m);
});

test('an export whose writes go through is clean at once', async () => {
  expect(await said('drain', 'disk.raw', '--timeout', '5')).toBe('disk.raw is clean\n');
});

test.each([
  [['drain', 'none'], 2, /there is no export "none"/],
  [['flush', 'pool:99'], 2, /there is no pool 99/],
  [['share', 'none', '--weight', '1'], 2, /there is no export "none"/],
  [['snapshot'], 2, /snapshot/],
])('tmem ctl %j says what the service has against it', async (args, code, sentence) => {
  const ended = await ctl(...args);
  expect(ended).toMatchObject({ code, stdout: '' });
  expect(ended.stderr).toMatch(sentence);
  expect(ended.stderr).toMatch(/^tmem: .*\n$/);
});
