/**
 * A file that takes the place of another when it is complete, and not before: it is written under a
 * name beside it, brought to stable storage and renamed. Until then the old one is there as it was.
 */

import { access, constants, lstat, open, readdir, readlink, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { kindOfSystemError, systemErrorCode, TmemError, writeAdvice } from '../lib/errors.ts';
import { isThere } from '../lib/is-there.ts';
import { type PartWriter, writeWhole } from '../lib/write-whole.ts';

/** What of an open file is needed to write it. */
export interface WritableFile extends PartWriter {
  sync(): Promise<void>;
  close(): Promise<void>;
}

/** Makes a file that must not exist yet. */
export type CreateFile = (path: string) => Promise<WritableFile>;

/** Only its owner may read a snapshot: it holds what is on the disks. */
const MODE = 0o600;

const createExclusively: CreateFile = (path) => open(path, 'wx', MODE);

/** Files under way in this process, by the path that they will have. */
const underWay = new Set<string>();

export class Replacement {
  readonly #path: string;
  readonly #temporaryPath: string;
  readonly #file: WritableFile;
  #isEnded = false;

  private constructor(path: string, temporaryPath: string, file: WritableFile) {
    this.#path = path;
    this.#temporaryPath = temporaryPath;
    this.#file = file;
  }

  /** Begins a file for `path`, and removes what processes left there that did not come to the end. */
  static async begin(path: string, create: CreateFile = createExclusively): Promise<Replacement> {
    if (underWay.has(path)) {
      throw new TmemError('busy', `"${path}" is being written already; try again later`, {
        context: { path },
      });
    }
    underWay.add(path);
    try {
      await removeLeftovers(path, true);
      const temporaryPath = `${path}.tmp-${await readlink('/proc/self')}`;
      return new Replacement(path, temporaryPath, await create(temporaryPath));
    } catch (cause) {
      underWay.delete(path);
      throw writeFailure(path, cause);
    }
  }

  /** Writes all of `bytes` at `at`. The buffer may be changed when this resolves. */
  async write(bytes: Buffer, at: number): Promise<void> {
    try {
      await writeWhole(this.#file, bytes, at);
    } catch (cause) {
      throw writeFailure(this.#path, cause);
    }
  }

  /** Puts the file in its place, for good. */
  async commit(): Promise<void> {
    try {
      await this.#file.sync();
      await this.#file.close();
      await rename(this.#temporaryPath, this.#path);
      await syncDirectory(dirname(this.#path));
      this.#end();
    } catch (cause) {
      throw writeFailure(this.#path, cause);
    }
  }

  /** Removes what was written; the old file stays. Harmless after `commit`. */
  async abandon(): Promise<void> {
    if (this.#isEnded) return;
    try {
      await this.#file.close().catch(() => undefined); // it may be closed already
      await rm(this.#temporaryPath, { force: true });
    } finally {
      this.#end();
    }
  }

  #end(): void {
    this.#isEnded = true;
    underWay.delete(this.#path);
  }
}

/**
 * Removes unfinished files for `path` of processes that are gone. With `isOwnGone` also one that
 * bears the id of this process, which an earlier one had: in containers every service has the same.
 */
export async function removeLeftovers(path: string, isOwnGone: boolean): Promise<void> {
  const directory = dirname(path);
  const prefix = `${basename(path)}.tmp-`;
  const own = await readlink('/proc/self');
  for (const name of await readdir(directory)) {
    const pid = name.startsWith(prefix) ? name.slice(prefix.length) : '';
    if (!/^\d{1,10}$/.test(pid)) continue;
    if (pid === own ? isOwnGone : !(await isThere(`/proc/${pid}`))) {
      await rm(join(directory, name), { force: true });
    }
  }
}

/** Rejects with a TmemError where no file can be put: to be known before there is much to save. */
export async function checkPlace(path: string): Promise<void> {
  await regularFileSize(path);
  try {
    await access(dirname(path), constants.W_OK | constants.X_OK);
  } catch (cause) {
    throw writeFailure(path, cause);
  }
}

/** Refuses what cannot be replaced by a file: a directory, a device, a link. Undefined: nothing there. */
export async function regularFileSize(path: string): Promise<number | undefined> {
  try {
    const stats = await lstat(path);
    if (stats.isFile()) return stats.size;
  } catch (cause) {
    if (systemErrorCode(cause) === 'ENOENT') return undefined;
    throw writeFailure(path, cause);
  }
  const advice = 'name a file, or one that does not exist yet';
  throw new TmemError('usage', `cannot use "${path}" as a snapshot: it is no file; ${advice}`, {
    context: { path },
  });
}

async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

/** Why a snapshot could not be saved, and what to do; what has a sentence of its own keeps it. */
export function writeFailure(path: string, cause: unknown): TmemError {
  if (cause instanceof TmemError) return cause;
  const code = systemErrorCode(cause) ?? String(cause);
  const kind = kindOfSystemError(cause);
  return new TmemError(
    kind,
    `cannot save the cache to "${path}": the system answered ${code}; ${writeAdvice(kind)}`,
    { context: { path, code }, cause },
  );
}
