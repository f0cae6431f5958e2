/**
 * The system calls that Node lacks and a disk image needs: fallocate(2), lseek(2), posix_fadvise(2), and
 * those that lock.
 * They are called through koffi on its own worker threads, so the event loop never waits for a disk.
 */

import { constants } from 'node:os';
import { getSystemErrorName } from 'node:util';
import { bindCLibrary, type CLibrary } from '../lib/c-library.ts';

/** fallocate(2) modes, of <linux/falloc.h>; all but the first keep the file's size. */
export const FALLOCATE = {
  lengthen: 0,
  keepSize: 0x01,
  punchHole: 0x02 | 0x01,
  zeroRange: 0x10 | 0x01,
} as const;

/** lseek(2) origins, of <unistd.h>. */
export const SEEK = { end: 2, data: 3, hole: 4 } as const;

/** flock(2) operations, of <sys/file.h>. */
export const FLOCK = { shared: 1, exclusive: 2, nonBlocking: 4 } as const;

/** posix_fadvise(2), of <fcntl.h>: what is cached of the file is not wanted. */
const POSIX_FADV_DONTNEED = 4;

/** All reject with an Error whose `code` is the errno's name, as Node's own calls do. */
export interface Libc {
  fallocate(fd: number, mode: number, offset: number, length: number): Promise<void>;
  /** Moves the descriptor's offset, which positioned I/O never looks at; resolves to it. */
  lseek(fd: number, offset: number, origin: number): Promise<number>;
  /** Drops what the page cache has of the file, and begins to write what is dirty there. */
  dropCached(fd: number): Promise<void>;
  /** Locks the open file; refused with EAGAIN when `operation` is non-blocking and it is taken. */
  flock(fd: number, operation: number): Promise<void>;
  /** Takes a shared lock on a byte for the open file description, which others may have as well. */
  lockByte(fd: number, offset: number): Promise<void>;
  /** Gives up what the open file description has locked of a range. */
  unlockBytes(fd: number, offset: number, length: number): Promise<void>;
  /**
   * Whether another open file description has a lock on the byte. One on the whole file is not
   * counted: network file systems make that of every flock(2).
   */
  isByteLocked(fd: number, offset: number): Promise<boolean>;
}

/** fcntl(2) for locks of open file descriptions, of <fcntl.h>. */
const F_OFD_GETLK = 36;
const F_OFD_SETLK = 37;
const LOCK = { shared: 0, exclusive: 1, none: 2 } as const;

/** `struct flock`, where addresses have 64 bits: its length, and where it has what. */
const LOCK_BYTES = 32;
const LOCK_FIELD = { type: 0, start: 8, length: 16 } as const;

/** A foreign function as koffi offers it; the callback runs on the event loop. */
interface AsyncFunction {
  async(...argumentsAndCallback: unknown[]): void;
}

/** koffi throws beyond 256 calls under way in a process; the queue in front never lets it. */
const IN_FLIGHT_MAX = 64;

let bound: Promise<Libc | undefined> | undefined;

/**
 * The calls, bound once per process, as the limit on them is the process's; undefined where koffi
 * or a C library it can load is not installed.
 */
export function loadLibc(): Promise<Libc | undefined> {
  bound ??= bindCLibrary(libcOf);
  return bound;
}

function libcOf(library: CLibrary): Libc {
  const call = limitedCaller(() => library.errno());
  const fallocate = library.func('fallocate64', 'int', ['int', 'int', 'int64_t', 'int64_t']);
  const lseek = library.func('lseek64', 'int64_t', ['int', 'int64_t', 'int']);
  const fadviseTypes = ['int', 'int64_t', 'int64_t', 'int'];
  const fadvise = library.func('posix_fadvise64', 'int', fadviseTypes);
  const flock = library.func('flock', 'int', ['int', 'int']);
  const fcntl = library.func('fcntl', 'int', ['int', 'int', 'void *']);
  /** Answers the structure as the call leaves it. */
  const lock = async (fd: number, command: number, type: number, start: number, length: number) => {
    const range = Buffer.alloc(LOCK_BYTES);
    range.writeInt16LE(type, LOCK_FIELD.type);
    range.writeUInt32LE(start, LOCK_FIELD.start);
    range.writeUInt32LE(length, LOCK_FIELD.length);
    if (!library.hasUsualLayout) throw systemCallError('fcntl', constants.errno.ENOTSUP);
    await call('fcntl', fcntl, [fd, command, range]);
    return range;
  };
  return {
    fallocate: async (fd, mode, offset, length) => {
      await call('fallocate', fallocate, [fd, mode, offset, length]);
    },
    lseek: (fd, offset, origin) => call('lseek', lseek, [fd, offset, origin]),
    dropCached: async (fd) => {
      // Unlike the others it answers the errno itself.
      const errno = await call('posix_fadvise', fadvise, [fd, 0, 0, POSIX_FADV_DONTNEED]);
      if (errno !== 0) throw systemCallError('posix_fadvise', errno);
    },
    flock: async (fd, operation) => {
      await call('flock', flock, [fd, operation]);
    },
    lockByte: async (fd, offset) => {
      await lock(fd, F_OFD_SETLK, LOCK.shared, offset, 1);
    },
    unlockBytes: async (fd, offset, length) => {
      await lock(fd, F_OFD_SETLK, LOCK.none, offset, length);
    },
    isByteLocked: async (fd, offset) => {
      const range = await lock(fd, F_OFD_GETLK, LOCK.exclusive, offset, 1);
      if (range.readInt16LE(LOCK_FIELD.type) === LOCK.none) return false;
      const { start, length } = LOCK_FIELD;
      return range.readBigInt64LE(start) !== 0n || range.readBigInt64LE(length) !== 0n;
    },
  };
}

/** Calls at most `IN_FLIGHT_MAX` functions at once; a result of -1 becomes an Error. */
function limitedCaller(errno: () => number) {
  const waiting: (() => void)[] = [];
  let inFlightCount = 0;

  return (name: string, call: AsyncFunction, values: unknown[]): Promise<number> =>
    new Promise((resolve, reject) => {
      const end = (failure: unknown, result: unknown) => {
        // The call's own errno is to be had in this callback only.
        const code = errno();
        inFlightCount--;
        waiting.shift()?.();
        if (failure) reject(failure);
        else if (Number(result) === -1) reject(systemCallError(name, code));
        else resolve(Number(result));
      };
      const start = () => {
        inFlightCount++;
        try {
          call.async(...values, end);
        } catch (cause) {
          end(cause, undefined);
        }
      };
      if (inFlightCount < IN_FLIGHT_MAX) start();
      else waiting.push(start);
    });
}

function systemCallError(name: string, errno: number): Error {
  const code = getSystemErrorName(-errno);
  return Object.assign(new Error(`${name} failed with ${code}`), { code });
}
