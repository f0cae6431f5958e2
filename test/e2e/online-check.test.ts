import path from 'node:path';
import { expect, test } from 'vitest';
import { needsPrograms, runWell } from '../tools/programs.ts';
import { startServer } from '../tools/server.ts';
import { workspace } from '../tools/workspace.ts';

needsPrograms('curl', 'qemu-img', 'qemu-io');

test('an image whose format allows it is checked while clients write to it', async () => {
  const directory = workspace();
  const [qed, qcow2] = ['a.qed', 'b.qcow2'].map((name) => path.join(directory, name));
  await runWell('qemu-img', ['create', '-q', '-f', 'qed', qed ?? '', '64M']);
  await runWell('qemu-img', ['create', '-q', '-f', 'qcow2', qcow2 ?? '', '64M']);
  const socket = path.join(directory, 'admin.sock');
  const options = ['--memory', '64MiB', '--admin', `unix:${socket}`];
  const server = await startServer(directory, [qed ?? '', qcow2 ?? '', ...options]);
  const check = (name: string) =>
    runWell('curl', [
      ...['-sS', '-X', 'POST', '--unix-socket', socket],
      `http://tmem/v1/exports/${name}/check`,
    ]).then((text) => JSON.parse(text) as Record<string, unknown>);

  const writes = Array.from({ length: 40 }, (_, i) => ['-c', `write -P 7 ${i * 1500}k 64k`]).flat();
  const writing = runWell('qemu-io', ['-f', 'raw', ...writes, server.uri('a.qed')]);
  expect(await check('a.qed')).toMatchObject({ formatName: 'qed', corruptions: 0, leaks: 0 });
  await writing;
  const report = await check('a.qed');
  expect(report).toMatchObject({ formatName: 'qed', corruptions: 0, leaks: 0, errors: 0 });
  expect((report as { allocatedUnits: number }).allocatedUnits).toBeGreaterThan(40);
  expect(await check('b.qcow2')).toMatchObject({
    status: 501,
    detail: expect.stringContaining('cannot be checked while it is used'),
  });
  expect(await check('c')).toMatchObject({ status: 404 });
});
