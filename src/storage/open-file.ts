/** Opening a path as a storage's descriptors, and refusing what cannot be an image. */

import fs from 'node:fs';
import { promisify } from 'node:util';
import { alignedBuffer, MEMORY_ALIGNMENT_BYTES } from '../lib/aligned-buffer.ts';
import {
  kindOfSystemError,
  LINKS_IN_CIRCLE,
  systemAdvice,
  systemErrorCode,
  TmemError,
} from '../lib/errors.ts';
import { checkTakesWrites, deviceSizeBytes } from './block-device.ts';
import { closeDescriptors } from './descriptors.ts';
import { Growth } from './growth.ts';
import { type Libc, loadLibc } from './libc.ts';
import { lockDescriptor } from './lock.ts';
import { positionedIoOf } from './positioned-io.ts';
import type { PositionedIo } from './thread-io.ts';

const openDescriptor = promisify(fs.open);
const statDescriptor = promisify(fs.fstat);
const readDescriptor = promisify(fs.read);

/** The unit that every image's size is a multiple of, bytes. */
const SECTOR_BYTES = 512;

/** Where the test read of every opening goes; what lands in it is never looked at. */
const probe = alignedBuffer(MEMORY_ALIGNMENT_BYTES);

/** How to open a file. */
export interface FileStorageOptions {
  readonly isReadOnly: boolean;
  /**
   * Whether to use O_DIRECT where it works; else all requests go through the page cache. By default
   * what is written is written around it; what is only read, and once, is often there already.
   */
  readonly wantsDirect?: boolean | undefined;
  /**
   * A format keeps its image in the file: any size will do, none too, and writes may go behind its
   * end. Default false: the file is the disk itself.
   */
  readonly isContainer?: boolean | undefined;
  /** A container's file ends farther on than what is written, while it is open; see `Growth`. */
  readonly growsAhead?: boolean | undefined;
  /** Makes the file, and fails where there is one already. Default false. */
  readonly isNew?: boolean | undefined;
  /** The system calls that Node lacks; null does without. By default they are looked for. */
  readonly libc?: Libc | null | undefined;
  /** How it is read and written; by default the best there is. */
  readonly io?: PositionedIo | undefined;
}

/** An open file, whose descriptors are the receiver's to close. */
export interface OpenFile {
  readonly path: string;
  readonly sizeBytes: number;
  readonly isReadOnly: boolean;
  readonly isContainer: boolean;
  /** Of a container around the page cache. */
  readonly growth: Growth | undefined;
  /** A file, not a device: its size can be changed. */
  readonly isRegular: boolean;
  readonly identity: string;
  /** Names the file or device, whatever is in it. */
  readonly medium: string;
  /** Other processes that ask for a lock are kept out, until `bufferedFd` is closed. */
  readonly isLocked: boolean;
  /** This process has the file open besides, and one of the two for writing. */
  readonly isOpenHere: boolean;
  readonly libc: Libc | undefined;
  readonly bufferedFd: number;
  /** Open with O_DIRECT; undefined where that is not wanted or does not work. */
  readonly directFd: number | undefined;
  /** How `bufferedFd` and `directFd` are read and written. */
  readonly io: PositionedIo;
  /** For fallocate and lseek alone, which move a descriptor's offset. */
  readonly allocationFd: number;
}

/** Opens what `path` names, or rejects with a TmemError that says what to do about it. */
export async function openDescriptors(
  path: string,
  options: FileStorageOptions,
): Promise<OpenFile> {
  const { isReadOnly, isContainer = false } = options;
  const access = isReadOnly ? fs.constants.O_RDONLY : fs.constants.O_RDWR;
  const opened: number[] = [];
  let isMade = false;
  const open = async (flags: number) => {
    const fd = await openDescriptor(path, access | flags);
    opened.push(fd);
    return fd;
  };
  try {
    // Looked at before it is opened: opening a pipe waits, and opening a tape rewinds it.
    if (options.isNew === true) {
      const fd = await createFile(path);
      isMade = true;
      await closeDescriptors([fd]);
    }
    checkIsDisk(path, await fs.promises.stat(path, { bigint: true }));
    const bufferedFd = await open(0);
    const stats = await statDescriptor(bufferedFd, { bigint: true });
    checkIsDisk(path, stats);
    if (!isReadOnly && stats.isBlockDevice()) await checkTakesWrites(path, stats.rdev);
    const libc = options.libc === undefined ? await loadLibc() : (options.libc ?? undefined);
    const lock = await lockDescriptor(path, bufferedFd, isReadOnly, libc);
    const allocationFd = await open(0);
    const sizeBytes = stats.isFile()
      ? Number(stats.size)
      : await deviceSizeBytes(path, stats.rdev, allocationFd, libc);
    checkIsCountable(path, sizeBytes);
    if (!isContainer) checkSize(path, sizeBytes);
    const { wantsDirect = !isReadOnly } = options;
    const directFd = wantsDirect ? await openDirect(open) : undefined;
    for (const fd of opened) await checkIsSameFile(path, stats, fd);
    if (directFd !== undefined && !isReadOnly) await dropCached(directFd, libc);
    const medium = mediumOf(stats);
    const identity = identityOf(stats, medium);
    const descriptors = { bufferedFd, allocationFd, directFd };
    const isRegular = stats.isFile();
    const growsAhead = options.growsAhead === true && isContainer && isRegular && !isReadOnly;
    const hasGrowth = growsAhead && directFd !== undefined;
    return {
      ...{ path, sizeBytes, isReadOnly, isContainer, isRegular },
      ...{ identity, medium, isLocked: lock === 'held', isOpenHere: lock === 'own', libc },
      ...descriptors,
      growth: hasGrowth ? new Growth(bufferedFd, sizeBytes, libc) : undefined,
      io: options.io ?? (await positionedIoOf(bufferedFd)),
    };
  } catch (cause) {
    await closeDescriptors(opened).catch(() => undefined); // of nothing that was written
    if (isMade) await fs.promises.rm(path, { force: true }).catch(() => undefined);
    throw cause instanceof TmemError ? cause : openFailure(path, isReadOnly, cause);
  }
}

/** An empty file where there is none; what is there is never touched. Answers its descriptor. */
function createFile(path: string): Promise<number> {
  const { O_CREAT, O_EXCL, O_WRONLY } = fs.constants;
  return openDescriptor(path, O_WRONLY | O_CREAT | O_EXCL, 0o644);
}

/** A descriptor that takes unbuffered requests of our alignment, or undefined. */
export async function openDirect(
  open: (flags: number) => Promise<number>,
): Promise<number | undefined> {
  try {
    const fd = await open(fs.constants.O_DIRECT);
    await readDescriptor(fd, probe, 0, MEMORY_ALIGNMENT_BYTES, 0);
    return fd;
  } catch (cause) {
    if (systemErrorCode(cause) === 'EINVAL') return undefined;
    throw cause;
  }
}

/**
 * A write around the page cache must first drop what that has of its range; one of the ring may not,
 * and goes by a worker instead. A file that was just copied is all there: so that is seen to once.
 */
async function dropCached(fd: number, libc: Libc | undefined): Promise<void> {
  await libc?.dropCached(fd).catch(() => undefined); // where it is refused, writes take longer
}

function checkIsDisk(path: string, stats: fs.BigIntStats): void {
  if (stats.isFile() || stats.isBlockDevice()) return;
  const what = stats.isDirectory() ? 'a directory' : 'neither a file nor a block device';
  const advice = 'name an image file or a block device';
  throw new TmemError('usage', `cannot use "${path}" as an image: it is ${what}; ${advice}`, {
    context: { path },
  });
}

/** Offsets are numbers, which are exact up to here: behind that one byte would pass for another. */
function checkIsCountable(path: string, sizeBytes: number): void {
  if (sizeBytes <= Number.MAX_SAFE_INTEGER) return;
  const problem = 'it has more than 8191TiB; name a smaller one';
  throw new TmemError('usage', `cannot use "${path}" as an image: ${problem}`, {
    context: { path, sizeBytes },
  });
}

function checkSize(path: string, sizeBytes: number): void {
  if (sizeBytes > 0 && sizeBytes % SECTOR_BYTES === 0) return;
  const problem =
    sizeBytes === 0
      ? `it is empty; give it a size, as in: truncate -s 1G "${path}"`
      : `its ${sizeBytes} bytes are not a multiple of ${SECTOR_BYTES}; ` +
        `round its size up, as in: truncate -s %${SECTOR_BYTES} "${path}"`;
  throw new TmemError('usage', `cannot use "${path}" as an image: ${problem}`, {
    context: { path, sizeBytes },
  });
}

/** A path can be given to another file between two calls that open it. */
export async function checkIsSameFile(
  path: string,
  stats: fs.BigIntStats,
  fd: number,
): Promise<void> {
  const other = await statDescriptor(fd, { bigint: true });
  if (other.dev === stats.dev && other.ino === stats.ino) return;
  throw new TmemError('busy', `cannot open "${path}": it was replaced just now; try again`, {
    context: { path },
  });
}

/** A device's content has no time of change: its identity is good for this process only. */
let processNonce: string | undefined;

function identityOf(stats: fs.BigIntStats, medium: string): string {
  if (!stats.isBlockDevice()) return `${medium}:${stats.mtimeNs}:${stats.size}`;
  processNonce ??= crypto.randomUUID();
  return `${medium}:${processNonce}`;
}

/** Names a file or device, whatever is in it. */
export function mediumOf(stats: fs.BigIntStats): string {
  return stats.isBlockDevice() ? `device:${stats.rdev}` : `file:${stats.dev}:${stats.ino}`;
}

function openFailure(path: string, isReadOnly: boolean, cause: unknown): TmemError {
  const code = systemErrorCode(cause) ?? String(cause);
  const kind = kindOfSystemError(cause);
  const access = isReadOnly ? 'reading' : 'reading and writing';
  const problems: Partial<Record<typeof kind, string>> = {
    'not-found': code === 'ELOOP' ? LINKS_IN_CIRCLE : 'there is no such file; check the path',
    permission: `this user may not open it for ${access}; change its mode or owner`,
    'read-only': 'its medium takes no writes; open it read-only, or copy it elsewhere',
    busy: 'something else is using it; stop that first',
  };
  const taken = code === 'EEXIST' ? 'there is a file already; remove it or take another name' : '';
  const advice = systemAdvice(cause, 'check the disk that it is on');
  const problem = taken || (problems[kind] ?? `the system answered ${code}; ${advice}`);
  return new TmemError(kind, `cannot open "${path}": ${problem}`, {
    context: { path, code },
    cause,
  });
}
