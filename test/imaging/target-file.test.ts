import fs from 'node:fs';
import path from 'node:path';
import { expect, test, vi } from 'vitest';
import { TargetFiles } from '../../src/imaging/target/target-file.ts';
import { workspace } from '../tools/workspace.ts';

/** The next removal of a file fails. */
let failsNextRemoval = false;

vi.mock('node:fs/promises', async (importOriginal) => {
  const real = await importOriginal<typeof import('node:fs/promises')>();
  const rm: typeof real.rm = async (...wish) => {
    if (!failsNextRemoval) return real.rm(...wish);
    failsNextRemoval = false;
    throw Object.assign(new Error('EIO: injected'), { code: 'EIO' });
  };
  return { ...real, rm };
});

test('where a file has its name and cannot lose its other one, it has none in the end', async () => {
  const target = path.join(workspace(), 'new.img');
  const files = await TargetFiles.begin(target, { isForced: false, isDurable: true });
  await files.create(files.name);
  failsNextRemoval = true;
  await expect(files.finish()).rejects.toThrow(`cannot put in place "${target}"`);
  expect(fs.readdirSync(path.dirname(target))).toEqual([]);
});

test.each([true, false])(
  'a new file has its name when it is finished, durable %s',
  async (isDurable) => {
    const target = path.join(workspace(), 'new.img');
    const files = await TargetFiles.begin(target, { isForced: false, isDurable });
    const file = await files.create(files.name);
    await file.write(Buffer.from('content'), 0, 7, 0);
    expect(fs.existsSync(target)).toBe(false);
    await files.finish();
    expect(fs.readFileSync(target, 'latin1')).toBe('content');
    expect(fs.readdirSync(path.dirname(target))).toEqual(['new.img']);
  },
);

test('what need not be durable goes through the page cache alone', async () => {
  const target = path.join(workspace(), 'new.img');
  const files = await TargetFiles.begin(target, { isForced: false, isDurable: false });
  expect((await files.create(files.name)).alignmentBytes).toBe(1);
  expect((await files.open(files.name)).alignmentBytes).toBe(1);
  await files.abandon();
});

test('syncing a file without a name asks nothing of the disk', async () => {
  const target = path.join(workspace(), 'new.img');
  const files = await TargetFiles.begin(target, { isForced: false, isDurable: true });
  const file = await files.create(files.name);
  await file.close();
  // The storage below refuses everything by now.
  await expect(file.sync()).resolves.toBeUndefined();
  await expect(file.write(Buffer.alloc(1), 0, 1, 0)).rejects.toThrow(/is closed/);
  await files.abandon();
});
