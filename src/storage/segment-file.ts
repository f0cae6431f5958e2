/**
 * A file of the service's own, for content that need not outlive it: created, or emptied if it is
 * one from before, with nobody else having a look at it. A file that is anything else is left alone.
 */

import fs from 'node:fs';
import { userInfo } from 'node:os';
import { promisify } from 'node:util';
import { kindOfSystemError, systemErrorCode, TmemError } from '../lib/errors.ts';
import { closeDescriptors } from './descriptors.ts';
import { FileStorage } from './file.ts';
import { type Libc, loadLibc } from './libc.ts';
import { lockDescriptor } from './lock.ts';
import { checkIsSameFile, mediumOf, openDirect } from './open-file.ts';
import { positionedIoOf } from './positioned-io.ts';
import type { PositionedIo } from './thread-io.ts';

const openDescriptor = promisify(fs.open);
const statDescriptor = promisify(fs.fstat);
const readDescriptor = promisify(fs.read);
const writeDescriptor = promisify(fs.write);
const truncateDescriptor = promisify(fs.ftruncate);
const changeMode = promisify(fs.fchmod);

/** Nobody but the service's user may read what its guests wrote. */
const PRIVATE_MODE = 0o600;

/** What of an existing file's start is looked at, bytes. */
const START_BYTES = 512;

/** The media that are open here: a lock tells of other processes, and not where there are none. */
const openMedia = new Set<string>();

/** How to open a file of the service's own. */
export interface SegmentFileOptions {
  /** What the file begins with, at least a block of 4096 bytes; nothing is ever written over it. */
  readonly header: Buffer;
  /** What the file may grow to, bytes; kept by whoever writes it. */
  readonly sizeBytesMax: number;
  /** Why a file that begins so is not the service's, and what to do; undefined when it is. */
  readonly whyForeign: (start: Buffer) => string | undefined;
  /** Whether the file is removed when it is closed. It is emptied in any case. */
  readonly removesAtClose?: boolean;
  readonly wantsDirect?: boolean | undefined;
  readonly libc?: Libc | null | undefined;
  /** How it is read and written; by default the best there is. */
  readonly io?: PositionedIo | undefined;
}

/** An open file of the service's own; see `FileStorage` for its requests. */
export interface SegmentFile {
  readonly name: string;
  /** Names the file, by whatever path. */
  readonly medium: string;
  read(buffer: Buffer, bufferOffset: number, length: number, offset: number): Promise<void>;
  write(buffer: Buffer, bufferOffset: number, length: number, offset: number): Promise<void>;
  /** Empties the file, and removes it if that was wanted; not to be called during requests. */
  close(): Promise<void>;
}

/**
 * Opens the file at `path`, made if it is not there. Rejects with a TmemError that says what to do:
 * `usage` for a file of somebody else, `busy` for one that is in use.
 */
export async function openSegmentFile(
  path: string,
  options: SegmentFileOptions,
): Promise<SegmentFile> {
  const opened: number[] = [];
  let isNew = false;
  const open = async (flags: number) => {
    const fd = await openDescriptor(path, fs.constants.O_RDWR | flags, PRIVATE_MODE);
    opened.push(fd);
    return fd;
  };
  try {
    await checkIsFileIfThere(path);
    const made = await open(fs.constants.O_CREAT | fs.constants.O_EXCL).catch(ifThere);
    isNew = made !== undefined;
    const bufferedFd = made ?? (await open(fs.constants.O_CREAT));
    const stats = await statDescriptor(bufferedFd, { bigint: true });
    checkIsFile(path, stats);
    checkIsPrivate(path, stats);
    const libc = options.libc === undefined ? await loadLibc() : (options.libc ?? undefined);
    const medium = mediumOf(stats);
    const lock = await lockDescriptor(path, bufferedFd, false, libc);
    if (openMedia.has(medium)) throw inUseHere(path);
    if (lock === 'own') throw unusable(path, 'this service has it as an image; name another file');
    await checkIsOurs(path, bufferedFd, options.whyForeign);
    await changeMode(bufferedFd, PRIVATE_MODE);
    await truncateDescriptor(bufferedFd, 0);
    await writeDescriptor(bufferedFd, options.header, 0, options.header.length, 0);
    const allocationFd = await open(0);
    const directFd = options.wantsDirect === false ? undefined : await openDirect(open);
    for (const fd of opened) await checkIsSameFile(path, stats, fd);
    const storage = new FileStorage({
      path,
      sizeBytes: options.sizeBytesMax,
      isReadOnly: false,
      isContainer: false,
      growth: undefined,
      isRegular: true,
      identity: medium,
      medium,
      isLocked: lock === 'held',
      isOpenHere: false,
      libc,
      bufferedFd,
      directFd,
      io: options.io ?? (await positionedIoOf(bufferedFd)),
      allocationFd,
    });
    openMedia.add(medium);
    return new OpenSegmentFile(storage, bufferedFd, options);
  } catch (cause) {
    // Of nothing that is kept; and that it cannot be removed is no more than why it was not opened.
    if (isNew) await removeIfSame(path, opened[0]).catch(() => undefined);
    await closeDescriptors(opened).catch(() => undefined);
    throw cause instanceof TmemError ? cause : openFailure(path, cause);
  }
}

/** Somebody else who made the file may have it open, or know it by another name. */
function checkIsPrivate(path: string, { uid, nlink }: fs.BigIntStats): void {
  if (uid === BigInt(userInfo().uid) && nlink === 1n) return;
  const why = nlink === 1n ? 'it belongs to another user' : 'it has another name besides';
  throw new TmemError('usage', `cannot use "${path}" for overflow: ${why}; name a new one`, {
    context: { path },
  });
}

class OpenSegmentFile implements SegmentFile {
  readonly name: string;
  readonly medium: string;
  readonly #storage: FileStorage;
  readonly #fd: number;
  readonly #options: SegmentFileOptions;

  constructor(storage: FileStorage, fd: number, options: SegmentFileOptions) {
    this.name = storage.name;
    this.medium = storage.medium;
    this.#storage = storage;
    this.#fd = fd;
    this.#options = options;
  }

  read(buffer: Buffer, bufferOffset: number, length: number, offset: number): Promise<void> {
    return this.#storage.read(buffer, bufferOffset, length, offset);
  }

  write(buffer: Buffer, bufferOffset: number, length: number, offset: number): Promise<void> {
    return this.#storage.write(buffer, bufferOffset, length, offset);
  }

  async close(): Promise<void> {
    const { header, removesAtClose } = this.#options;
    try {
      // What has no name any more needs not be empty: its space is given back in any case.
      const emptying = truncateDescriptor(this.#fd, header.length);
      if (removesAtClose) {
        await Promise.allSettled([emptying]);
        await removeIfSame(this.name, this.#fd);
      } else {
        await emptying;
      }
    } catch (cause) {
      throw closeFailure(this.name, cause);
    } finally {
      openMedia.delete(this.medium);
      await this.#storage.close();
    }
  }
}

/** Only if the path still names the file that is open there. */
async function removeIfSame(path: string, fd: number | undefined): Promise<void> {
  if (fd === undefined) return;
  try {
    const stats = await fs.promises.stat(path, { bigint: true });
    const own = await statDescriptor(fd, { bigint: true });
    if (mediumOf(stats) === mediumOf(own)) await fs.promises.unlink(path);
  } catch (cause) {
    if (systemErrorCode(cause) !== 'ENOENT') throw cause;
  }
}

/** There is one already, which may be one of an earlier run. */
function ifThere(cause: unknown): undefined {
  if (systemErrorCode(cause) !== 'EEXIST') throw cause;
}

/** Looked at before it is opened: opening a pipe or a tape does something to it. */
async function checkIsFileIfThere(path: string): Promise<void> {
  try {
    checkIsFile(path, await fs.promises.stat(path, { bigint: true }));
  } catch (cause) {
    if (systemErrorCode(cause) !== 'ENOENT') throw cause;
  }
}

function checkIsFile(path: string, stats: fs.BigIntStats): void {
  if (stats.isFile()) return;
  throw unusable(path, 'it is no regular file; name a file, which may not exist yet');
}

async function checkIsOurs(
  path: string,
  fd: number,
  whyForeign: SegmentFileOptions['whyForeign'],
): Promise<void> {
  const start = Buffer.alloc(START_BYTES);
  const { bytesRead } = await readDescriptor(fd, start, 0, START_BYTES, 0);
  if (bytesRead === 0) return;
  const problem = whyForeign(start.subarray(0, bytesRead));
  if (problem !== undefined) throw unusable(path, problem);
}

function unusable(path: string, problem: string): TmemError {
  return new TmemError('usage', `cannot use "${path}" for overflow: ${problem}`, {
    context: { path },
  });
}

function inUseHere(path: string): TmemError {
  const advice = 'give each device a file of its own';
  return new TmemError('busy', `cannot use "${path}" for overflow twice; ${advice}`, {
    context: { path },
  });
}

function closeFailure(path: string, cause: unknown): TmemError {
  const code = systemErrorCode(cause) ?? String(cause);
  return new TmemError(
    kindOfSystemError(cause),
    `"${path}", the overflow of a device that has ended, stays: the system answered ${code}; remove it`,
    { context: { path, code }, cause },
  );
}

function openFailure(path: string, cause: unknown): TmemError {
  const code = systemErrorCode(cause) ?? String(cause);
  const kind = kindOfSystemError(cause);
  const problems: Partial<Record<typeof kind, string>> = {
    'not-found': 'there is no such directory; make it first',
    permission: 'this user may not create or change it; choose another place, or its owner',
    'read-only': 'its file system takes no writes; choose another place',
    'no-space': 'its file system is full; free some space',
  };
  const problem = problems[kind] ?? `the system answered ${code}; check the disk that it is on`;
  return new TmemError(kind, `cannot use "${path}" for overflow: ${problem}`, {
    context: { path, code },
    cause,
  });
}
