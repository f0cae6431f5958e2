import fs from 'node:fs';
import path from 'node:path';
import { expect, it, vi } from 'vitest';
import { loadCodec } from '../../src/layers/codec.ts';
import { TmemError } from '../../src/lib/errors.ts';
import { loadLibc } from '../../src/storage/libc.ts';
import { openSegmentFile } from '../../src/storage/segment-file.ts';
import { type OverflowFileOptions, openOverflow } from '../../src/swap/open-overflow.ts';
import { fileHeader } from '../../src/swap/record.ts';
import { FLOCK_PROGRAM, holder } from '../storage/lock-holder.ts';
import { temporaryDirectory, temporaryFile } from '../storage/temporary-files.ts';
import { pageOf } from '../tmem/page-content.ts';
import { leaveOutWithout } from '../tools/programs.ts';

const codec = loadCodec();
const PAGES = 2000;
const header = fileHeader(Buffer.alloc(16, 1));

function open(file: string, options: Partial<OverflowFileOptions> = {}) {
  const device = { name: 'swap0', sizeBytes: PAGES * 4096, pageBytes: 4096, codec };
  return openOverflow({ ...device, path: file, ...options });
}

const newPath = () => path.join(temporaryDirectory(), 'swap.overflow');

/** The refusal of `file`, which must be left as it is. */
async function expectRefused(file: string, kind: string, sentence: RegExp): Promise<void> {
  const isFile = fs.existsSync(file) && fs.statSync(file).isFile();
  const before = isFile ? fs.readFileSync(file) : undefined;
  const failure = await open(file).catch((cause) => cause);
  expect(failure).toBeInstanceOf(TmemError);
  expect(failure).toMatchObject({ kind });
  expect(failure.message).toMatch(sentence);
  expect(failure.message).toContain(`cannot use "${file}" for overflow`);
  if (before !== undefined) expect(fs.readFileSync(file).equals(before)).toBe(true);
}

it.each([true, false])('a file keeps pages while it is open (direct: %s)', async (wantsDirect) => {
  const file = newPath();
  const storage = await open(file, { wantsDirect });
  const bytes = Buffer.alloc(4096);
  for (let page = 0; page < PAGES; page++) {
    await storage.write(pageOf(4096, 'random', page), 0, 4096, page * 4096);
  }
  for (let page = 0; page < PAGES; page += 7) {
    await storage.read(bytes, 0, 4096, page * 4096);
    expect(bytes.equals(pageOf(4096, 'random', page))).toBe(true);
  }
  const stats = fs.statSync(file);
  expect(stats.mode & 0o777).toBe(0o600);
  expect(stats.size).toBeGreaterThan(PAGES * 4096 * 0.9);
  await storage.close();
  // Nobody needs it any more, and it is nobody's business.
  expect(fs.statSync(file).size).toBe(4096);
});

it('a file of an earlier run is emptied, even if that run ended in the middle', async () => {
  const file = newPath();
  const content = Buffer.concat([fileHeader(Buffer.alloc(16, 1)), Buffer.alloc(100_000, 5)]);
  fs.writeFileSync(file, content, { mode: 0o644 });
  const storage = await open(file);
  expect(fs.statSync(file)).toMatchObject({ size: 4096, mode: 0o100600 });
  const bytes = Buffer.alloc(8192, 1);
  await storage.read(bytes, 0, 8192, 0);
  expect(bytes.equals(Buffer.alloc(8192))).toBe(true);
  await storage.close();
});

it('an empty file is taken, and removed at the end if that is wanted', async () => {
  const file = temporaryFile(0);
  const storage = await open(file, { removesAtClose: true });
  await storage.close();
  expect(fs.existsSync(file)).toBe(false);
});

it('a file that cannot be removed is emptied, named, and free for another', async () => {
  const file = newPath();
  const storage = await open(file, { removesAtClose: true });
  await storage.write(pageOf(4096, 'random', 1), 0, 4096, 0);
  const failure = Object.assign(new Error('EIO: injected'), { code: 'EIO' });
  vi.spyOn(fs.promises, 'unlink').mockRejectedValueOnce(failure);
  await expect(storage.close()).rejects.toMatchObject({
    kind: 'io',
    message: expect.stringContaining(`"${file}", the overflow of a device that has ended, stays`),
  });
  vi.restoreAllMocks();
  expect(fs.statSync(file).size).toBe(4096);
  await (await open(file, { removesAtClose: true })).close();
  expect(fs.existsSync(file)).toBe(false);
});

it('a file that was made for a device that cannot be is removed again', async () => {
  const file = newPath();
  const tooLarge = { sizeBytes: 2 ** 52, fileBytesMax: 1 << 30, removesAtClose: true };
  await expect(open(file, tooLarge)).rejects.toThrow();
  expect(fs.existsSync(file)).toBe(false);
});

it.each(['new', 'from before'])(
  'a file that cannot be opened stays as it was: %s',
  async (kind) => {
    const file = kind === 'new' ? newPath() : temporaryFile(0);
    const options = {
      ...{ header, sizeBytesMax: 1 << 20, whyForeign: () => undefined },
      get io(): never {
        throw Object.assign(new Error('EMFILE: injected'), { code: 'EMFILE' });
      },
    };
    await expect(openSegmentFile(file, options)).rejects.toThrow(/cannot use .* for overflow/);
    expect(fs.existsSync(file)).toBe(kind !== 'new');
  },
);

it('a path that names another file by then is not removed', async () => {
  const file = newPath();
  const storage = await open(file, { removesAtClose: true });
  fs.renameSync(file, `${file}.old`);
  fs.writeFileSync(file, 'precious');
  await storage.close();
  expect(fs.readFileSync(file, 'utf8')).toBe('precious');
});

const changed = (at: number) => {
  const copy = Buffer.from(header);
  copy[at] = (copy[at] ?? 0) + 1;
  return copy;
};

it.each<[string, Buffer, RegExp]>([
  ['somebody else’s', Buffer.from('precious data, without any magic'), /holds something else/],
  ['zeros', Buffer.alloc(1 << 20), /holds something else.*name a file that does not exist yet$/],
  ['one byte', Buffer.from('t'), /holds something else/],
  ['of another version', changed(8), /of version 2, and this is version 1; remove it/],
  ['cut short', header.subarray(0, 20), /cut short; remove it/],
  ['damaged', changed(15), /damaged header; remove it/],
])('a file that is %s is refused, and left alone', async (_, content, sentence) => {
  await expectRefused(temporaryFile(content), 'usage', sentence);
});

it('what is no regular file is refused', async () => {
  await expectRefused(temporaryDirectory(), 'usage', /no regular file/);
  await expectRefused('/dev/null', 'usage', /no regular file/);
});

it('a directory that is not there is said', async () => {
  const file = path.join(newPath(), 'below', 'it');
  await expectRefused(file, 'not-found', /no such directory; make it first/);
});

it('a file with a second name is refused: somebody may know it by that', async () => {
  const file = temporaryFile(Buffer.alloc(0));
  fs.linkSync(file, `${file}.other`);
  await expectRefused(file, 'usage', /it has another name besides; name a new one/);
});

it('a file is one device’s', async () => {
  const file = newPath();
  const storage = await open(file);
  const link = `${file}.link`;
  fs.symlinkSync(file, link);
  for (const each of [file, link]) {
    await expectRefused(each, 'busy', /twice; give each device a file of its own/);
  }
  await storage.close();
  await (await open(file)).close();
});

it('a file that another process has locked is refused, and stays as it is', async ({ skip }) => {
  leaveOutWithout(skip, FLOCK_PROGRAM);
  if ((await loadLibc()) === undefined) return skip('needs koffi');
  const file = temporaryFile(Buffer.concat([header, Buffer.alloc(5000, 1)]));
  const { pid } = await holder(file, '--exclusive');
  const failure = await open(file).catch((cause) => cause);
  expect(failure).toMatchObject({ kind: 'busy', context: { pid } });
  expect(fs.statSync(file).size).toBe(4096 + 5000);
});

it('a limit that is too small is refused before there is a file', async () => {
  const file = newPath();
  const failure = await open(file, { fileBytesMax: 100_000 }).catch((cause) => cause);
  expect(failure).toMatchObject({ kind: 'usage' });
  expect(failure.message).toMatch(/too small; give it at least \d/);
  expect(fs.existsSync(file)).toBe(false);
});

it('a file that was cut short meanwhile is an error, never zeros', async () => {
  const file = newPath();
  const storage = await open(file);
  for (let page = 0; page < PAGES; page++) {
    await storage.write(pageOf(4096, 'random', page), 0, 4096, page * 4096);
  }
  fs.truncateSync(file, 8192);
  const bytes = Buffer.alloc(4096);
  const failure = await storage.read(bytes, 0, 4096, 4096 * 10).catch((cause) => cause);
  expect(failure).toMatchObject({ kind: 'io' });
  expect(failure.message).toMatch(
    // A write that was under way then makes a hole of what was cut off.
    /^cannot read 4096 bytes at offset 40960 of "swap0": .*(truncated|damaged)/,
  );
  await storage.close();
});
