import fs from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { needsPrograms, runWell } from '../tools/programs.ts';
import { startServer } from '../tools/server.ts';
import { MIB, workspace } from '../tools/workspace.ts';

needsPrograms('nbdinfo', 'nbdcopy');

const SIZE = 256 * MIB;

test('without an image a demonstration is made once, served, and next steps are shown', async () => {
  const directory = workspace();
  const env = { XDG_CACHE_HOME: directory };
  const image = path.join(directory, 'tmem', 'demo.raw');
  const server = await startServer(directory, ['--memory', '64MiB'], { env });
  expect(server.stderr()).toBe(`tmem: making the demonstration image ${image}\n`);
  expect(server.stdout()).toMatch(/^export +demo, 256MiB.*\nTry next.*\n +nbdinfo/ms);
  const made = fs.statSync(image);
  expect(made.size).toBe(SIZE);
  expect(await runWell('nbdinfo', ['--size', server.uri('demo')])).toBe(`${SIZE}\n`);
  await runWell('nbdcopy', [server.uri(), 'null:']);
  server.signal('SIGTERM');
  expect(await server.ended).toMatchObject({ code: 0 });

  const again = await startServer(directory, ['--memory', '64MiB'], { env });
  expect(again.stderr()).toBe('');
  expect(fs.statSync(image).mtimeMs).toBe(made.mtimeMs);
});
