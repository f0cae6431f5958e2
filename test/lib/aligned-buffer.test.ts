import { expect, test } from 'vitest';
import { alignedBuffer } from '../../src/lib/aligned-buffer.ts';
import { runProgram } from '../tools/programs.ts';
import { TMEM } from '../tools/server.ts';
import { MIB, makeImage, workspace } from '../tools/workspace.ts';

test('a buffer for which there is no room is refused in a sentence', () => {
  expect(() => alignedBuffer(2 ** 45)).toThrow(/^no room for a buffer of .*ulimit -v/);
});

/** From Node 24 on, whose V8 is 13, a buffer makes do with few addresses where there are few. */
const needsManyAddresses = Number.parseInt(process.versions.v8, 10) < 13;

test.runIf(needsManyAddresses)('a process with too little address space says so', async () => {
  const image = makeImage(workspace(), MIB);
  const script = 'ulimit -v 4000000 && exec "$@"';
  const command = [process.execPath, TMEM, 'serve', '--admin', 'none', image];
  const ended = await runProgram('sh', ['-c', script, 'sh', ...command]);
  expect(ended).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/^tmem: .*ulimit -v.*\n$/),
  });
});
