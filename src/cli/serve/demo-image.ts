/** The image that is served when none is named: made once, from what the machine has, and kept. */

import { randomBytes, randomFillSync } from 'node:crypto';
import { mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { homedir, userInfo } from 'node:os';
import { basename, dirname, isAbsolute, join } from 'node:path';
import { kindOfSystemError, systemErrorCode, TmemError } from '../../lib/errors.ts';
import { isThere } from '../../lib/is-there.ts';
import { placeNew } from '../../lib/place-new.ts';
import { writeWhole } from '../../lib/write-whole.ts';
import { ContentReader, type ContentSource, machineSources } from './demo-content.ts';

const DEMO_IMAGE_BYTES = 256 * 1024 * 1024;

/** What is older was left behind by a process that was killed, milliseconds. */
const UNFINISHED_MS_MAX = 24 * 60 * 60 * 1000;

/** The image is this many extents, each a 256th of it. */
const EXTENT_COUNT = 256;
/**
 * What the extents hold, over and over: an eighth of the image is zeros, an eighth is random and
 * does not compress, the rest is real.
 */
const PATTERN = ['real', 'real', 'real', 'zero', 'real', 'real', 'real', 'random'] as const;

export interface DemoImageOptions {
  /** Where the image is, or is to be. */
  readonly path: string;
  /** A multiple of 1 MiB. */
  readonly sizeBytes?: number;
  /** Where its content comes from. */
  readonly sources?: readonly ContentSource[];
  /** Told now and then how much is done, from 0 to 1. */
  onProgress?(fraction: number): void;
  /** Gives up, and leaves nothing behind, when aborted. */
  readonly signal?: AbortSignal;
}

/** The place of the image, by the XDG base directory specification. */
export function demoImagePath(env: Readonly<Record<string, string | undefined>>): string {
  const cache = env.XDG_CACHE_HOME;
  // An empty HOME would be the current directory.
  const base =
    cache !== undefined && isAbsolute(cache)
      ? cache
      : join(homedir() || userInfo().homedir, '.cache');
  return join(base, 'tmem', 'demo.raw');
}

/**
 * Makes the directory and those above it. Not by the `recursive` of mkdir, which never returns where
 * the system answers ENOENT for a directory whose parent exists (/proc; Node 20).
 */
async function makeDirectory(path: string): Promise<void> {
  const code = await mkdir(path, { mode: 0o700 }).then(() => undefined, systemErrorCode);
  if (code === 'ENOENT' && dirname(path) !== path) {
    await makeDirectory(dirname(path));
    await mkdir(path, { mode: 0o700 }).catch(() => {});
  }
  // Whatever else went wrong, the first file in it fails for the same reason and says so.
}

async function writeContent(path: string, options: DemoImageOptions): Promise<void> {
  const { sizeBytes = DEMO_IMAGE_BYTES, sources = machineSources(process.execPath) } = options;
  const extentBytes = sizeBytes / EXTENT_COUNT;
  const reader = new ContentReader(sources, extentBytes);
  const random = Buffer.alloc(extentBytes);
  const file = await open(path, 'wx', 0o600);
  try {
    await file.truncate(sizeBytes);
    for (let index = 0; index < EXTENT_COUNT; index++) {
      if (options.signal?.aborted) {
        throw new TmemError('shutdown', 'the demonstration image was not finished; start again');
      }
      options.onProgress?.(index / EXTENT_COUNT);
      const kind = PATTERN[index % PATTERN.length];
      if (kind === 'zero') continue; // stays a hole
      const extent = kind === 'random' ? randomFillSync(random) : await reader.next();
      await writeWhole(file, extent, index * extentBytes);
    }
    // A crash must not leave a complete name on incomplete content.
    await file.sync();
  } finally {
    await reader.close();
    await file.close();
  }
}

/** Removes what processes that were killed left behind of the image at `path`. */
async function removeLeftOver(path: string): Promise<void> {
  const oldestMs = Date.now() - UNFINISHED_MS_MAX;
  for (const name of await readdir(dirname(path))) {
    if (!name.startsWith(`${basename(path)}.`) || !name.endsWith('.part')) continue;
    const each = join(dirname(path), name);
    const info = await stat(each).catch(() => undefined);
    if (info !== undefined && info.mtimeMs < oldestMs) await rm(each, { force: true });
  }
}

/**
 * Gives the finished image its name. Answers false where another process was faster: its image is
 * being served, and stays.
 */
async function place(unfinished: string, path: string): Promise<boolean> {
  try {
    await placeNew(unfinished, path, async () => {}); // it was not there when this was begun
  } catch (cause) {
    if (systemErrorCode(cause) !== 'EEXIST') throw cause;
    if (await isThere(path)) return false;
    await rename(unfinished, path); // what has the name leads nowhere
  }
  return true;
}

/**
 * Answers whether it made the image. It appears under its name complete or not at all; of two
 * processes that make it at once the first one's stays, and both succeed.
 */
export async function ensureDemoImage(options: DemoImageOptions): Promise<boolean> {
  const { path } = options;
  if (await isThere(path)) return false;
  let isMade: boolean;
  const unfinished = `${path}.${randomBytes(6).toString('hex')}.part`;
  try {
    await makeDirectory(dirname(path));
    await removeLeftOver(path).catch(() => {});
    await writeContent(unfinished, options);
    isMade = await place(unfinished, path);
  } catch (cause) {
    if (cause instanceof TmemError) throw cause;
    throw new TmemError(
      kindOfSystemError(cause),
      `cannot make the demonstration image ${path} (${systemErrorCode(cause) ?? String(cause)}); ` +
        'name an image, or set XDG_CACHE_HOME to a directory with 256MiB to spare',
      { context: { path }, cause },
    );
  } finally {
    // Where it has its name, this was another one.
    await rm(unfinished, { force: true }).catch(() => {});
  }
  options.onProgress?.(1);
  return isMade;
}
