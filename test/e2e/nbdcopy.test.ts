import fs from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { needsPrograms, runWell } from '../tools/programs.ts';
import { startServer } from '../tools/server.ts';
import { hasSameContent, MIB, makeEmptyImage, makeImage, workspace } from '../tools/workspace.ts';

needsPrograms('nbdcopy', 'nbdkit');

const SIZE = 24 * MIB + 512;
const SHARES = ['0', '25%', '90%'];

test.each(SHARES)('nbdcopy copies an image out, cold and warm, with --hot %s', async (hot) => {
  const directory = workspace();
  const image = makeImage(directory, SIZE);
  const server = await startServer(directory, [image, '--memory', '64MiB', '--hot', hot]);
  for (const name of ['cold.raw', 'warm.raw']) {
    const copy = path.join(directory, name);
    await runWell('nbdcopy', [server.uri(), copy]);
    expect(hasSameContent(copy, image)).toBe(true);
  }
});

test.each(SHARES)('nbdcopy copies in what it then copies out, with --hot %s', async (hot) => {
  const directory = workspace();
  const source = makeImage(directory, SIZE, 'source.raw');
  const image = makeEmptyImage(directory, SIZE);
  const server = await startServer(directory, [image, '--memory', '64MiB', '--hot', hot]);
  await runWell('nbdcopy', ['--flush', source, server.uri()]);
  expect(hasSameContent(image, source)).toBe(true);
  const copy = path.join(directory, 'copy.raw');
  await runWell('nbdcopy', [server.uri(), copy]);
  expect(hasSameContent(copy, source)).toBe(true);
});

test('nbdcopy in keeps the holes of its source as holes', async () => {
  const directory = workspace();
  const source = makeEmptyImage(directory, 64 * MIB, 'source.raw');
  const image = makeImage(directory, 64 * MIB);
  const server = await startServer(directory, [image]);
  await runWell('nbdcopy', [source, server.uri()]);
  await server.stop();
  expect(hasSameContent(image, source)).toBe(true);
  expect(fs.statSync(image).blocks * 512).toBeLessThan(MIB);
});

test('nbdcopy out with a cache much smaller than the image and many requests', async () => {
  const directory = workspace();
  const image = makeImage(directory, 96 * MIB);
  const server = await startServer(directory, [image, '--memory', '32MiB']);
  const copy = path.join(directory, 'copy.raw');
  const size = ['--request-size', `${2 * MIB}`, '--requests', '32', '--connections', '4'];
  await runWell('nbdcopy', [...size, server.uri(), copy]);
  expect(hasSameContent(copy, image)).toBe(true);
});

test('nbdcopy through an nbdkit in front of the server copies the same bytes', async () => {
  const directory = workspace();
  const image = makeImage(directory, 16 * MIB);
  const server = await startServer(directory, [image, '--mode', 'read-only']);
  const copy = path.join(directory, 'copy.raw');
  const front = ['-U', '-', '--exit-with-parent', 'nbd', `uri=${server.uri()}`];
  await runWell('nbdkit', [...front, '--run', `nbdcopy "$uri" ${copy}`]);
  expect(hasSameContent(copy, image)).toBe(true);
});
