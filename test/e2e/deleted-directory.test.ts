import fs from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { type Ended, runProgram } from '../tools/programs.ts';
import { TMEM } from '../tools/server.ts';
import { MIB, makeImage, workspace } from '../tools/workspace.ts';

/** Runs the program in a directory that was deleted. */
function runInDeleted(directory: string, ...args: string[]): Promise<Ended> {
  const gone = path.join(directory, 'gone');
  fs.mkdirSync(gone);
  const script = 'cd "$1" && rmdir "$1" && shift && exec "$@"';
  return runProgram('sh', ['-c', script, 'sh', gone, process.execPath, TMEM, ...args]);
}

const ADVICE = 'the current directory is gone; change to another one, or give full paths';

test.each([
  [['image', 'info', 'disk.raw']],
  [['serve', '--print-config', 'disk.raw']],
  [['serve', '--print-config', '--config', 'a.yaml']],
])('in a directory that was deleted, %j is refused in a sentence', async (args) => {
  expect(await runInDeleted(workspace(), ...args)).toEqual({
    code: 2,
    signal: null,
    stdout: '',
    stderr: `tmem: ${ADVICE}\n`,
  });
});

test('in a directory that was deleted, what needs no directory works', async () => {
  const directory = workspace();
  const image = makeImage(directory, MIB);
  const config = path.join(directory, 'a.yaml');
  fs.writeFileSync(config, 'hot: 0\n');
  for (const args of [
    ['--version'],
    ['image', 'info', image],
    ['image', 'check', '-f', 'raw', '--allow-backing', directory, image],
    ['serve', '--print-config', '--config', config, '--snapshot', `${image}.snap`, image],
  ]) {
    const ended = await runInDeleted(directory, ...args);
    expect(ended.stderr).not.toContain(ADVICE);
    expect(ended.code).toBe(args.includes('check') ? 63 : 0);
  }
});
