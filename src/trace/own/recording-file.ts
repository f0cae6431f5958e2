/** The file of a recording: new, for its owner's eyes, and readable at any time while it grows. */

import { access, constants, type FileHandle, open, rm, stat } from 'node:fs/promises';
import { kindOfSystemError, systemErrorCode, TmemError, writeAdvice } from '../../lib/errors.ts';
import { writeWhole } from '../../lib/write-whole.ts';
import type { TraceSink } from './writer.ts';

/** What somebody does with a disk tells of them: others have no business in it. */
const OWNER_ONLY = 0o600;

function failure(path: string, what: string, cause: unknown): TmemError {
  if (cause instanceof TmemError) return cause;
  const code = systemErrorCode(cause);
  if (code === 'EEXIST') {
    const sentence = `${path} exists, and a recording never replaces a file`;
    return new TmemError('invalid', `${sentence}; move it away, or name another`, { cause });
  }
  const kind = kindOfSystemError(cause);
  const sentence = `cannot ${what} ${path}: ${code ?? String(cause)}; ${writeAdvice(kind)}`;
  return new TmemError(kind, sentence, { context: { path }, cause });
}

/** Rejects with a TmemError when `path` is no directory that may be written to. */
export async function checkRecordingDirectory(path: string): Promise<void> {
  try {
    if ((await stat(path)).isDirectory())
      return await access(path, constants.W_OK | constants.X_OK);
  } catch (cause) {
    if (systemErrorCode(cause) === 'ENOENT') {
      const sentence = `there is no directory ${path} for recordings; make it first`;
      throw new TmemError('not-found', sentence, { context: { path }, cause });
    }
    throw failure(path, 'keep recordings in', cause);
  }
  throw new TmemError('usage', `${path} is no directory; name one for recordings`);
}

export class RecordingFile implements TraceSink {
  readonly path: string;
  readonly #handle: FileHandle;

  private constructor(path: string, handle: FileHandle) {
    this.path = path;
    this.#handle = handle;
  }

  /** Makes the file. Rejects with a TmemError when there is something at `path` or it cannot be. */
  static async create(path: string): Promise<RecordingFile> {
    try {
      return new RecordingFile(path, await open(path, 'wx', OWNER_ONLY));
    } catch (cause) {
      throw failure(path, 'create', cause);
    }
  }

  async write(bytes: Uint8Array, position: number): Promise<void> {
    try {
      await writeWhole(this.#handle, bytes, position);
    } catch (cause) {
      throw failure(this.path, 'write', cause);
    }
  }

  /** Has the disk keep what was written, and closes. */
  async close(): Promise<void> {
    try {
      await this.#handle.sync();
    } catch (cause) {
      throw failure(this.path, 'sync', cause);
    } finally {
      await this.#handle.close();
    }
  }

  /** Closes and removes the file, for a recording that never began. Never rejects. */
  async discard(): Promise<void> {
    await this.#handle.close().catch(() => undefined);
    await rm(this.path, { force: true }).catch(() => undefined);
  }
}
