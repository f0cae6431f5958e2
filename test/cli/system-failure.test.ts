import fs from 'node:fs';
import path from 'node:path';
import { expect, test, vi } from 'vitest';
import { main } from '../../src/cli/main.ts';
import { workspace } from '../tools/workspace.ts';
import { ScriptedContext } from './scripted-context.ts';

vi.mock('node:fs/promises', async (importOriginal) => {
  const real = await importOriginal<typeof import('node:fs/promises')>();
  return { ...real, stat: async (file: string) => fail(file) };
});

let fail: (file: string) => void;

/** Converts a trace, where `stat` of the output does what `fail` says. */
async function convert() {
  const folder = workspace();
  const [source, target] = [path.join(folder, 'a.csv'), path.join(folder, 'b.tmemtrace')];
  fs.writeFileSync(source, 'timestamp,offset,size,op\n1,0,4096,read\n');
  const context = new ScriptedContext();
  const code = await main(['trace', 'convert', source, '-o', target], context);
  return { code, err: context.err, target };
}

test.each([
  ['EIO', 'check the disk or the path'],
  ['EMFILE', 'let it have more files open at a time (ulimit -n)'],
])(
  'a call of the system that nobody foresaw to fail, as %s, is a sentence, and no defect',
  async (errno, advice) => {
    fail = (file) => {
      const message = `${errno}: it failed, stat '${file}'`;
      throw Object.assign(new Error(message), { code: errno, errno: -1, syscall: 'stat' });
    };
    const { code, err, target } = await convert();
    const cause = `${errno}: it failed, stat '${target}'`;
    expect({ code, err }).toEqual({
      code: 1,
      err: `tmem: the system failed: ${cause}; ${advice}\n`,
    });
  },
);

test('memory that the system does not give is a sentence, and no defect', async () => {
  fail = () => {
    new ArrayBuffer(2 ** 52);
  };
  const { code, err } = await convert();
  const sentence = 'the system gave no more memory';
  const advice = 'take less of it, or let the process have more (ulimit -v)';
  expect({ code, err }).toEqual({ code: 1, err: `tmem: ${sentence}; ${advice}\n` });
});
