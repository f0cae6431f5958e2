/** A file that is there when it is complete, and not before. */

import { randomBytes } from 'node:crypto';
import { type FileHandle, lstat, open, rename, rm, stat } from 'node:fs/promises';
import { kindOfSystemError, systemErrorCode, TmemError, writeAdvice } from '../../lib/errors.ts';
import { placeNew } from '../../lib/place-new.ts';
import { writeWhole } from '../../lib/write-whole.ts';

function outputError(path: string, what: string, cause: unknown): TmemError {
  if (cause instanceof TmemError) return cause;
  const code = systemErrorCode(cause) ?? String(cause);
  const kind = kindOfSystemError(cause);
  const isTaken = code === 'EEXIST';
  const advice = isTaken ? 'somebody has made it meanwhile, name another' : writeAdvice(kind);
  const sentence = `cannot ${what} ${path}: the system answered ${code}; ${advice}`;
  return new TmemError(kind, sentence, { cause });
}

/** Refuses a path that something is at; what is no file is never replaced. */
async function checkFree(path: string, isForced: boolean): Promise<void> {
  const found = await lstat(path).catch(() => undefined);
  if (found === undefined) return;
  if (!found.isFile()) {
    throw new TmemError('invalid', `${path} is no regular file; name another output`);
  }
  if (!isForced) {
    throw new TmemError(
      'invalid',
      `${path} exists; name another output, or replace it with --force`,
    );
  }
}

/** Written beside its place under another name, and put there by `finish`. */
export class OutputFile {
  readonly path: string;
  readonly #temporary: string;
  readonly #handle: FileHandle;
  readonly #isForced: boolean;

  private constructor(path: string, temporary: string, handle: FileHandle, isForced: boolean) {
    this.path = path;
    this.#temporary = temporary;
    this.#handle = handle;
    this.#isForced = isForced;
  }

  /** Throws a `TmemError` if `path` exists and is not to be replaced, or cannot be written. */
  static async create(path: string, isForced: boolean): Promise<OutputFile> {
    await checkFree(path, isForced);
    const temporary = `${path}.partial-${randomBytes(4).toString('hex')}`;
    try {
      return new OutputFile(path, temporary, await open(temporary, 'wx+'), isForced);
    } catch (cause) {
      throw outputError(path, 'create', cause);
    }
  }

  /** Writes all of `bytes`. */
  async write(bytes: Uint8Array, position: number): Promise<void> {
    try {
      await writeWhole(this.#handle, bytes, position);
    } catch (cause) {
      throw outputError(this.path, 'write', cause);
    }
  }

  /** Fills `target` with what was written at `position`. */
  async read(target: Uint8Array, position: number): Promise<void> {
    try {
      for (let done = 0; done < target.length; ) {
        const left = target.length - done;
        const { bytesRead } = await this.#handle.read(target, done, left, position + done);
        if (bytesRead === 0) throw new Error('the file is shorter than what was written');
        done += bytesRead;
      }
    } catch (cause) {
      throw outputError(this.path, 'read back', cause);
    }
  }

  /** How long the file is, bytes; once it is finished. */
  async sizeBytes(): Promise<number> {
    return (await stat(this.path)).size;
  }

  /** Puts the file in its place. If that fails, `abandon` is still to be called. */
  async finish(): Promise<void> {
    try {
      await this.#handle.sync();
      await this.#handle.close();
      if (this.#isForced) await rename(this.#temporary, this.path);
      else await this.#placeNew();
    } catch (cause) {
      throw outputError(this.path, 'put in place', cause);
    }
  }

  async #placeNew(): Promise<void> {
    await placeNew(this.#temporary, this.path, () => checkFree(this.path, false));
    await rm(this.#temporary, { force: true }).catch(async (cause: unknown) => {
      await rm(this.path, { force: true }).catch(() => undefined); // it was not there before
      throw cause;
    });
  }

  /** Removes what was written. */
  async abandon(): Promise<void> {
    await this.#handle.close().catch(() => undefined);
    await rm(this.#temporary, { force: true });
  }
}

/** How much is written at once, bytes. */
const BUFFER_BYTES = 1024 * 1024;

/** Records, or text, collected and written one piece after another. */
export class OutputBuffer {
  readonly bytes = Buffer.alloc(BUFFER_BYTES);
  /** Where in `bytes` the next goes; whoever writes there moves it on. */
  fill = 0;
  readonly #file: OutputFile;
  #position: number;

  /** Begins at `position` of the file. */
  constructor(file: OutputFile, position = 0) {
    this.#file = file;
    this.#position = position;
  }

  /** How much room there is without writing, bytes. */
  get room(): number {
    return this.bytes.length - this.fill;
  }

  /** Writes what was collected. */
  async drain(): Promise<void> {
    await this.#file.write(this.bytes.subarray(0, this.fill), this.#position);
    this.#position += this.fill;
    this.fill = 0;
  }
}
