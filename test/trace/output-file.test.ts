import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { OutputFile } from '../../src/trace/export/output-file.ts';
import { workspace } from '../tools/workspace.ts';

/** Calls that fail, by the error that they answer. */
const failing: { link?: string | undefined; rm?: string | undefined } = {};

vi.mock('node:fs/promises', async (importOriginal) => {
  const real = await importOriginal<typeof import('node:fs/promises')>();
  const failOnce = (name: keyof typeof failing) => {
    const code = failing[name];
    failing[name] = undefined;
    if (code !== undefined) throw Object.assign(new Error(code), { code });
  };
  const link: typeof real.link = async (...paths) => {
    failOnce('link');
    return real.link(...paths);
  };
  const rm: typeof real.rm = async (...wish) => {
    failOnce('rm');
    return real.rm(...wish);
  };
  return { ...real, link, rm };
});

async function written() {
  const path = join(workspace(), 'out');
  const file = await OutputFile.create(path, false);
  await file.write(Buffer.from('content'), 0);
  return { path, file };
}

test('a file comes to its place where there are no hard links, but never over another', async () => {
  const { path, file } = await written();
  failing.link = 'EPERM';
  await file.finish();
  expect(readFileSync(path, 'latin1')).toBe('content');
  expect(readdirSync(dirname(path))).toEqual(['out']);

  const other = await written();
  writeFileSync(other.path, 'mine');
  failing.link = 'EPERM';
  await expect(other.file.finish()).rejects.toThrow('exists; name another output');
  expect(readFileSync(other.path, 'latin1')).toBe('mine');
});

test('a file that has its name and cannot lose its other one has none in the end', async () => {
  const { path, file } = await written();
  failing.rm = 'EIO';
  await expect(file.finish()).rejects.toThrow(
    `cannot put in place ${path}: the system answered EIO`,
  );
  expect(existsSync(path)).toBe(false);
  await file.abandon();
  expect(readdirSync(dirname(path))).toEqual([]);
});
