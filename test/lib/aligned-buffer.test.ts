import { expect, test } from 'vitest';
import { runProgram } from '../tools/programs.ts';
import { TMEM } from '../tools/server.ts';
import { MIB, makeImage, workspace } from '../tools/workspace.ts';

test('a process with too little address space is refused in a sentence', async () => {
  const image = makeImage(workspace(), MIB);
  const script = 'ulimit -v 4000000 && exec "$@"';
  const command = [process.execPath, TMEM, 'serve', '--admin', 'none', image];
  const ended = await runProgram('sh', ['-c', script, 'sh', ...command]);
  expect(ended).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/^tmem: .*ulimit -v.*\n$/),
  });
});
