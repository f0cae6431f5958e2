/**
 * The files of a new image: made under names of their own beside their places, and put there when
 * they are complete. Until then, and after a failure, nothing is under the name of the target.
 */

import { randomBytes } from 'node:crypto';
import { lstat, open, rename, rm } from 'node:fs/promises';
import { basename, dirname, resolve } from 'node:path';
import { kindOfSystemError, systemAdvice, systemErrorCode, TmemError } from '../../lib/errors.ts';
import { isThere } from '../../lib/is-there.ts';
import { placeNew } from '../../lib/place-new.ts';
import { openFileStorage } from '../../storage/file.ts';
import { syncFile } from '../../storage/file-stamp.ts';
import { UnplacedFile } from './unplaced-file.ts';

interface NewFile {
  /** As the image calls it. */
  readonly name: string;
  /** Where it goes. */
  readonly path: string;
  /** Where it is until then. */
  readonly temporary: string;
  storage: UnplacedFile;
}

export interface TargetOptions {
  /** Files that are there are replaced. */
  readonly isForced: boolean;
  /**
   * They are on the disk before they have their names, and are written around the page cache. Else
   * the system writes them when it likes, and a crash of it may leave them damaged.
   */
  readonly isDurable: boolean;
}

export class TargetFiles {
  /** Where the image itself goes. */
  readonly path: string;
  readonly #options: TargetOptions;
  readonly #suffix = `.partial-${randomBytes(6).toString('hex')}`;
  readonly #files: NewFile[] = [];

  private constructor(path: string, options: TargetOptions) {
    this.path = path;
    this.#options = options;
  }

  /**
   * Rejects with a TmemError where `path` is taken: by what is no file, by a file unless `isForced`,
   * and by a file in use always.
   */
  static async begin(path: string, options: TargetOptions): Promise<TargetFiles> {
    await checkIsFree(path, options.isForced);
    return new TargetFiles(path, options);
  }

  /** The base name of the image. */
  get name(): string {
    return basename(this.path);
  }

  /** Makes a file that the image calls `name`; the storage is the caller's to close. */
  async create(name: string): Promise<UnplacedFile> {
    const path = resolve(dirname(this.path), name);
    if (name !== this.name) await checkIsFree(path, this.#options.isForced);
    if (this.#files.some((file) => file.path === path)) {
      throw new TmemError('usage', `"${this.path}" would have two files "${path}"; rename one`);
    }
    const temporary = path + this.#suffix;
    const storage = await this.#open(temporary, true).catch(async (cause: unknown) => {
      throw await notMade(path, cause);
    });
    this.#files.push({ name, path, temporary, storage });
    return storage;
  }

  /** Opens one of them again. */
  async open(name: string): Promise<UnplacedFile> {
    const file = this.#files.find((each) => each.name === name);
    if (file === undefined) {
      throw new TmemError('invalid', `"${this.path}" names "${name}", which was not made with it`);
    }
    await file.storage.close();
    file.storage = await this.#open(file.temporary, false);
    return file.storage;
  }

  async #open(path: string, isNew: boolean): Promise<UnplacedFile> {
    const wantsDirect = this.#options.isDurable ? undefined : false;
    const wish = { isReadOnly: false, isContainer: true, isNew, wantsDirect };
    return new UnplacedFile(await openFileStorage(path, wish));
  }

  /** Makes all of them durable, where that is wanted, and puts them in their places, the image itself last. */
  async finish(): Promise<void> {
    const { isDurable } = this.#options;
    const placed: string[] = [];
    try {
      for (const { storage, temporary } of this.#files) {
        await storage.close();
        if (isDurable) await syncFile(temporary);
      }
      for (const file of this.#lastIsImage()) await this.#place(file, placed);
      const folders = new Set(this.#files.map(({ path }) => dirname(path)));
      if (isDurable) for (const folder of folders) await syncFolder(folder);
    } catch (cause) {
      for (const path of placed) await rm(path, { force: true }).catch(() => undefined);
      await this.abandon();
      throw this.named(cause);
    }
  }

  /** The failure of a file that is made, with the name that it was to have: the one that was asked for. */
  named(cause: unknown): unknown {
    if (!(cause instanceof TmemError) || !cause.message.includes(this.#suffix)) return cause;
    const { kind, context, message } = cause;
    return new TmemError(kind, message.replaceAll(this.#suffix, ''), { context, cause });
  }

  /** Removes what was made. Never fails: the reason to give up is what is to be heard of. */
  async abandon(): Promise<void> {
    for (const { storage, temporary } of this.#files) {
      await storage.close().catch(() => undefined);
      await rm(temporary, { force: true }).catch(() => undefined);
    }
  }

  #lastIsImage(): NewFile[] {
    const isImage = (file: NewFile) => (file.name === this.name ? 1 : 0);
    return [...this.#files].sort((a, b) => isImage(a) - isImage(b));
  }

  /** Notes in `placed` what has its name now and had none before. */
  async #place({ path, temporary }: NewFile, placed: string[]): Promise<void> {
    const { isForced } = this.#options;
    try {
      if (isForced) {
        await rename(temporary, path);
        return;
      }
      await placeNew(temporary, path, () => checkIsFree(path, false));
      placed.push(path);
      await rm(temporary, { force: true });
    } catch (cause) {
      throw failure(path, 'put in place', cause);
    }
  }
}

async function checkIsFree(path: string, isForced: boolean): Promise<void> {
  let found: Awaited<ReturnType<typeof lstat>>;
  try {
    found = await lstat(path);
  } catch (cause) {
    if (systemErrorCode(cause) === 'ENOENT') return;
    throw failure(path, 'look at', cause);
  }
  const context = { path };
  if (!found.isFile()) {
    const advice = 'name another target';
    throw new TmemError('usage', `"${path}" is no regular file; ${advice}`, { context });
  }
  if (!isForced) {
    const advice = 'name another target, or replace it with --force';
    throw new TmemError('usage', `there is a file "${path}" already; ${advice}`, { context });
  }
  // Whoever uses it would go on with a file that has no name any more.
  const inUse = await openFileStorage(path, { isReadOnly: false, isContainer: true });
  await inUse.close();
  if (!inUse.isOpenHere) return;
  const problem = 'what is to be written comes from it; name another target';
  throw new TmemError('usage', `cannot replace "${path}": ${problem}`, { context });
}

async function syncFolder(path: string): Promise<void> {
  const handle = await open(path, 'r').catch((cause: unknown) => {
    throw failure(path, 'open', cause);
  });
  try {
    await handle.sync();
  } catch (cause) {
    // Some file systems cannot, and have nothing to lose.
    if (systemErrorCode(cause) !== 'EINVAL') throw failure(path, 'sync', cause);
  } finally {
    await handle.close();
  }
}

/** A target that cannot be written is not opened for reading instead. */
async function notMade(path: string, cause: unknown): Promise<unknown> {
  if (!(cause instanceof TmemError)) return cause;
  const { kind } = cause;
  const directory = dirname(path);
  if (kind === 'not-found' && !(await isThere(directory))) {
    const message = `cannot make "${path}": there is no directory "${directory}"; make that first`;
    return new TmemError(kind, message, { context: { path }, cause });
  }
  const problems: Partial<Record<typeof kind, string>> = {
    'not-found': 'its directory is one that no files can be made in', // as /proc is
    permission: 'this user may not write into its directory',
    'read-only': 'its medium takes no writes',
  };
  if (problems[kind] === undefined) return cause;
  const message = `cannot make "${path}": ${problems[kind]}; name another target`;
  return new TmemError(kind, message, { context: { path }, cause });
}

function failure(path: string, verb: string, cause: unknown): TmemError {
  if (cause instanceof TmemError) return cause;
  const code = systemErrorCode(cause) ?? String(cause);
  const advice =
    code === 'EEXIST'
      ? 'somebody has made it meanwhile, name another'
      : systemAdvice(cause, 'check its directory');
  return new TmemError(
    kindOfSystemError(cause),
    `cannot ${verb} "${path}": the system answered ${code}; ${advice}`,
    { context: { path, code }, cause },
  );
}
