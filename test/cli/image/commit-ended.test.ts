import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, it, test, vi } from 'vitest';
import { main } from '../../../src/cli/main.ts';
import { openImage } from '../../../src/image/open.ts';
import { vmdkDriver } from '../../../src/image/vmdk/driver.ts';
import { FileStorage, openFileStorage } from '../../../src/storage/file.ts';
import { FLOCK_PROGRAM, holder } from '../../storage/lock-holder.ts';
import { withFileSizeLimit } from '../../tools/file-size-limit.ts';
import { needsPrograms, runWell } from '../../tools/programs.ts';
import { hasSameContent, MIB, makeImage, workspace } from '../../tools/workspace.ts';
import { contextIn, runImage } from './run-image.ts';

needsPrograms('prlimit', 'qemu-img', FLOCK_PROGRAM);

const SIZE = 16 * MIB;

/** An overlay with content of its own all over, on an empty base. */
async function committable(format: 'cow' | 'vmdk') {
  const directory = workspace();
  const base = format === 'cow' ? 'base.raw' : 'base.vmdk';
  const overlay = `overlay.${format}`;
  const ends = async (...args: string[]) => (await runImage(directory, ...args)).err;
  expect(await ends('create', base, `${SIZE}`)).toBe('');
  expect(await ends('create', '-b', base, overlay)).toBe('');
  const content = fs.readFileSync(makeImage(directory, SIZE, 'content.raw'));
  const image = await openImage(path.join(directory, overlay), { isReadOnly: false });
  await image.write(content, 0, SIZE, 0);
  await image.close();
  const original = fs.readFileSync(path.join(directory, base));
  const isChanged = () => !fs.readFileSync(path.join(directory, base)).equals(original);
  const readsAsBefore = async (name = overlay) => {
    expect(await runImage(directory, 'compare', name, 'content.raw')).toMatchObject({
      ...{ code: 0, err: '' },
    });
  };
  const commitsNow = async () => {
    expect(await runImage(directory, 'commit', overlay)).toMatchObject({ code: 0, err: '' });
    await readsAsBefore();
    await readsAsBefore(base);
  };
  return { directory, base, overlay, isChanged, readsAsBefore, commitsNow };
}

/** Commits with the progress shown, and calls `onProgress` whenever it is. */
async function commitWatched(
  directory: string,
  overlay: string,
  onProgress: (context: ReturnType<typeof contextIn>) => void,
): Promise<number> {
  const context = contextIn(directory);
  context.stderr = () => onProgress(context);
  return await main(['image', 'commit', '--progress=on', overlay], context);
}

describe.each(['cow', 'vmdk'] as const)('a commit of a %s image', (format) => {
  it('that fails halfway leaves the image as it reads, and is done again', async () => {
    const { directory, overlay, isChanged, readsAsBefore, commitsNow } = await committable(format);
    // Of the cow image the headers are written, of the base not all.
    const ran = await withFileSizeLimit(2_000_000, () => runImage(directory, 'commit', overlay));
    expect(ran).toMatchObject({
      code: 1,
      err: expect.stringMatching(/EFBIG.*raise the limit of file sizes/),
    });
    expect(isChanged()).toBe(true);
    await readsAsBefore();
    await commitsNow();
  });

  it('that is interrupted leaves the image as it reads, and is done again', async () => {
    const { directory, overlay, isChanged, readsAsBefore, commitsNow } = await committable(format);
    const code = await commitWatched(directory, overlay, ({ signals }) => {
      if (isChanged()) signals.emit('SIGINT', 'SIGINT');
    });
    expect(code).toBe(130);
    expect(isChanged()).toBe(true);
    await readsAsBefore();
    await commitsNow();
  });
});

test('a commit of a cow image that is killed leaves the image as it reads', async () => {
  const { directory, base, overlay, isChanged, readsAsBefore } = await committable('cow');
  const at = (name: string) => path.join(directory, name);
  const code = await commitWatched(directory, overlay, () => {
    if (isChanged() && !fs.existsSync(at('killed.cow'))) {
      fs.copyFileSync(at(overlay), at('killed.cow'));
    }
  });
  expect(code).toBe(0);
  fs.truncateSync(at(base), SIZE / 2);
  fs.truncateSync(at(base), SIZE);
  await readsAsBefore('killed.cow');
  expect(hasSameContent(at(base), at('content.raw'))).toBe(false);
});

test('a commit of a cow image that cannot begin leaves it to refuse a base that changes', async () => {
  const { directory, base, overlay, isChanged, readsAsBefore } = await committable('cow');
  const reader = await holder(path.join(directory, base), '--shared');
  const ran = await runImage(directory, 'commit', overlay);
  expect(ran).toMatchObject({ code: 2, err: expect.stringMatching(/open for reading/) });
  await reader.stop();
  expect(isChanged()).toBe(false);
  await readsAsBefore();
  fs.writeFileSync(path.join(directory, base), Buffer.alloc(SIZE, 1));
  const checked = await runImage(directory, 'compare', overlay, 'content.raw');
  expect(checked.err).toMatch(/has changed since/);
});

test.each(['monolithicSparse', 'twoGbMaxExtentSparse'])(
  'a commit into a VMDK that is killed before or after any of its writes is done again: %s',
  async (subformat) => {
    const directory = workspace();
    const at = (...names: string[]) => path.join(directory, ...names);
    const runs = async (where: string, ...args: string[]) =>
      expect(await runImage(where, ...args), `${where} ${args}`).toMatchObject({
        ...{ code: 0, err: '' },
      });
    await runs(directory, 'create', '-o', `subformat=${subformat}`, 'base.vmdk', '4MiB');
    await runs(directory, 'create', '-o', `subformat=${subformat}`, '-b', 'base.vmdk', 'top.vmdk');
    const top = await openImage(at('top.vmdk'), { isReadOnly: false });
    const content = fs.readFileSync(makeImage(directory, 4 * MIB, 'content.raw'));
    await top.write(content, 0, 1 * MIB, 2 * MIB);
    await top.close();
    content.copyWithin(2 * MIB, 0, MIB);
    content.fill(0, 0, 2 * MIB).fill(0, 3 * MIB);
    fs.writeFileSync(at('content.raw'), content);

    const moments: string[] = [];
    const keepMoment = () => {
      const moment = at(`moment-${moments.length}`);
      fs.mkdirSync(moment);
      for (const name of fs.readdirSync(directory)) {
        if (name.endsWith('.vmdk')) fs.copyFileSync(at(name), path.join(moment, name));
      }
      moments.push(moment);
    };
    const { write } = FileStorage.prototype;
    const spy = vi.spyOn(FileStorage.prototype, 'write').mockImplementation(async function (
      this: FileStorage,
      ...args
    ) {
      keepMoment();
      await write.apply(this, args);
      keepMoment();
    });
    await runs(directory, 'commit', 'top.vmdk').finally(() => spy.mockRestore());
    expect(moments.length).toBeGreaterThan(8);
    for (const moment of moments) {
      await runs(moment, 'compare', 'top.vmdk', at('content.raw'));
      await runs(moment, 'commit', 'top.vmdk');
      await runs(moment, 'compare', 'base.vmdk', at('content.raw'));
      for (const name of ['base.vmdk', 'top.vmdk']) {
        await runWell('qemu-img', [
          'compare',
          '-F',
          'raw',
          path.join(moment, name),
          at('content.raw'),
        ]);
      }
    }
  },
);

test('a VMDK on a parent that somebody else wrote to after a killed commit is refused', async () => {
  const directory = workspace();
  const at = (name: string) => path.join(directory, name);
  await runImage(directory, 'create', 'base.vmdk', '1MiB');
  await runImage(directory, 'create', '-b', 'base.vmdk', 'top.vmdk');
  const cid = /^CID=(\w+)$/m.exec(fs.readFileSync(at('base.vmdk'), 'latin1'))?.[1] ?? '';
  const storage = await openFileStorage(at('top.vmdk'), { isReadOnly: false, isContainer: true });
  const parentCid = Number.parseInt(cid, 16);
  const reference = { role: 'parent', name: 'base.vmdk', formatName: 'vmdk', parentCid } as const;
  await vmdkDriver.rebase?.(storage, { ...reference, parentCidNext: 0x1234567 });
  await storage.close();
  expect(await runImage(directory, 'check', 'top.vmdk')).toMatchObject({ code: 0 });
  const base = await openImage(at('base.vmdk'), { isReadOnly: false });
  await base.write(Buffer.alloc(512, 1), 0, 512, 0);
  await base.close();
  const ran = await runImage(directory, 'commit', 'top.vmdk');
  expect(ran).toMatchObject({ code: 2, err: expect.stringMatching(/made on a parent of CID/) });
});
