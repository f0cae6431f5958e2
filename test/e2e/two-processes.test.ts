import path from 'node:path';
import { expect, test } from 'vitest';
import { loadLibc } from '../../src/storage/libc.ts';
import { runTmem, startServer } from '../tools/server.ts';
import { MIB, makeImage, workspace } from '../tools/workspace.ts';

const elsewhere = (directory: string) => [
  ...['--listen', `unix:${path.join(directory, 'second.sock')}`, '--admin', 'none'],
];

// Without the optional dependency koffi there is no lock.
test.skipIf((await loadLibc()) === undefined).each([
  [[], [], /has it open for writing; stop that process first\n$/],
  [[], ['--mode', 'read-only'], /has it open for writing; stop that process first\n$/],
  [['--mode', 'read-only'], [], /has it open for reading; stop .*, or open it read-only\n$/],
])('an image served with %j is refused to a second process with %j', async (...row) => {
  const [options, secondOptions, sentence] = row;
  const directory = workspace();
  const image = makeImage(directory, MIB);
  const server = await startServer(directory, [image, ...options]);
  const args = ['serve', image, ...secondOptions, ...elsewhere(directory)];
  const ended = await runTmem(args, { directory });
  expect(ended).toMatchObject({ code: 2, stdout: '' });
  expect(ended.stderr).toContain(`tmem: cannot lock "${image}": process ${server.pid} (`);
  expect(ended.stderr).toMatch(sentence);
});
