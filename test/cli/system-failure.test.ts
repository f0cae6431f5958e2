import fs from 'node:fs';
import path from 'node:path';
import { expect, test, vi } from 'vitest';
import { main } from '../../src/cli/main.ts';
import { workspace } from '../tools/workspace.ts';
import { ScriptedContext } from './scripted-context.ts';

vi.mock('node:fs/promises', async (importOriginal) => {
  const real = await importOriginal<typeof import('node:fs/promises')>();
  const stat = async (file: string) => {
    const message = `EIO: i/o error, stat '${file}'`;
    throw Object.assign(new Error(message), { code: 'EIO', errno: -5, syscall: 'stat' });
  };
  return { ...real, stat };
});

test('a call of the system that nobody foresaw to fail is a sentence, and no defect', async () => {
  const folder = workspace();
  const [source, target] = [path.join(folder, 'a.raw'), path.join(folder, 'b.raw')];
  fs.writeFileSync(source, Buffer.alloc(4096, 7));
  const context = new ScriptedContext();
  expect(await main(['image', 'convert', source, target], context)).toBe(1);
  const cause = `EIO: i/o error, stat '${target}'`;
  expect(context.err).toBe(`tmem: the system failed: ${cause}; check the disk or the path\n`);
});
