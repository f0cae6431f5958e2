import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, it, test } from 'vitest';
import { main } from '../../../src/cli/main.ts';
import { openImage } from '../../../src/image/open.ts';
import { withFileSizeLimit } from '../../tools/file-size-limit.ts';
import { needsPrograms } from '../../tools/programs.ts';
import { hasSameContent, MIB, makeImage, workspace } from '../../tools/workspace.ts';
import { contextIn, runImage } from './run-image.ts';

needsPrograms('prlimit');

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
    expect(ran).toMatchObject({ code: 1, err: expect.stringMatching(/EFBIG.*free some space/) });
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
