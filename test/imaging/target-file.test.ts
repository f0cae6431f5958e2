import fs from 'node:fs';
import path from 'node:path';
import { expect, test, vi } from 'vitest';
import { TargetFiles } from '../../src/imaging/target/target-file.ts';
import { TmemError } from '../../src/lib/errors.ts';
import { workspace } from '../tools/workspace.ts';

/** The next removal of a file fails. */
let failsNextRemoval = false;
/** How the next file is refused. */
let refusal: TmemError | undefined;

vi.mock('node:fs/promises', async (importOriginal) => {
  const real = await importOriginal<typeof import('node:fs/promises')>();
  const rm: typeof real.rm = async (...wish) => {
    if (!failsNextRemoval) return real.rm(...wish);
    failsNextRemoval = false;
    throw Object.assign(new Error('EIO: injected'), { code: 'EIO' });
  };
  return { ...real, rm };
});

vi.mock('../../src/storage/file.ts', async (importOriginal) => {
  const real = await importOriginal<typeof import('../../src/storage/file.ts')>();
  const openFileStorage: typeof real.openFileStorage = async (...wish) => {
    const refused = refusal;
    refusal = undefined;
    if (refused !== undefined) throw refused;
    return real.openFileStorage(...wish);
  };
  return { ...real, openFileStorage };
});

test('where a file has its name and cannot lose its other one, it has none in the end', async () => {
  const target = path.join(workspace(), 'new.img');
  const files = await TargetFiles.begin(target, { isForced: false, isDurable: true });
  await files.create(files.name);
  failsNextRemoval = true;
  await expect(files.finish()).rejects.toThrow(`cannot put in place "${target}"`);
  expect(fs.readdirSync(path.dirname(target))).toEqual([]);
});

test.each([
  ['permission', 'this user may not write into its directory'],
  ['read-only', 'its medium takes no writes'],
] as const)('a new file that is refused by kind %s is wanted elsewhere', async (kind, problem) => {
  const target = path.join(workspace(), 'new.img');
  const files = await TargetFiles.begin(target, { isForced: false, isDurable: true });
  refusal = new TmemError(kind, 'cannot open it');
  const message = `cannot make "${target}": ${problem}; name another target`;
  await expect(files.create(files.name)).rejects.toMatchObject({ kind, message });
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
