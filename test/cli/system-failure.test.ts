import fs from 'node:fs';
import path from 'node:path';
import { expect, test, vi } from 'vitest';
import { main } from '../../src/cli/main.ts';
import { workspace } from '../tools/workspace.ts';
import { ScriptedContext } from './scripted-context.ts';

vi.mock('node:fs/promises', async (importOriginal) => {
  const real = await importOriginal<typeof import('node:fs/promises')>();
  const stat = async (file: string) => {
    const message = `${code}: it failed, stat '${file}'`;
    throw Object.assign(new Error(message), { code, errno: -1, syscall: 'stat' });
  };
  return { ...real, stat };
});

let code: string;

test.each([
  ['EIO', 'check the disk or the path'],
  ['EMFILE', 'let it have more files open at a time (ulimit -n)'],
])(
  'a call of the system that nobody foresaw to fail, as %s, is a sentence, and no defect',
  async (failure, advice) => {
    code = failure;
    const folder = workspace();
    const [source, target] = [path.join(folder, 'a.csv'), path.join(folder, 'b.tmemtrace')];
    fs.writeFileSync(source, 'timestamp,offset,size,op\n1,0,4096,read\n');
    const context = new ScriptedContext();
    expect(await main(['trace', 'convert', source, '-o', target], context)).toBe(1);
    const cause = `${code}: it failed, stat '${target}'`;
    expect(context.err).toBe(`tmem: the system failed: ${cause}; ${advice}\n`);
  },
);
