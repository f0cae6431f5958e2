/**
 * The system calls that Node lacks and a disk image needs: fallocate(2), lseek(2) and flock(2).
 * They are called through koffi on its own worker threads, so the event loop never waits for a disk.
 */

import { getSystemErrorName } from 'node:util';
import { bindCLibrary, type CLibrary } from '../lib/c-library.ts';

/** fallocate(2) modes, of <linux/falloc.h>; all keep the file's size. */
export const FALLOCATE = {
  keepSize: 0x01,
  punchHole: 0x02 | 0x01,
  zeroRange: 0x10 | 0x01,
} as const;

/** lseek(2) origins, of <unistd.h>. */
export const SEEK = { end: 2, data: 3, hole: 4 } as const;

/** flock(2) operations, of <sys/file.h>. */
export const FLOCK = { shared: 1, exclusive: 2, nonBlocking: 4 } as const;

/** All reject with an Error whose `code` is the errno's name, as Node's own calls do. */
export interface Libc {
  fallocate(fd: number, mode: number, offset: number, length: number): Promise<void>;
  /** Moves the descriptor's offset, which positioned I/O never looks at; resolves to it. */
  lseek(fd: number, offset: number, origin: number): Promise<number>;
  /** Locks the open file; refused with EAGAIN when `operation` is non-blocking and it is taken. */
  flock(fd: number, operation: number): Promise<void>;
}

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
  const flock = library.func('flock', 'int', ['int', 'int']);
  return {
    fallocate: async (fd, mode, offset, length) => {
      await call('fallocate', fallocate, [fd, mode, offset, length]);
    },
    lseek: (fd, offset, origin) => call('lseek', lseek, [fd, offset, origin]),
    flock: async (fd, operation) => {
      await call('flock', flock, [fd, operation]);
    },
  };
}

/** Calls at most `IN_FLIGHT_MAX` functions at once; a result of -1 becomes an Error. */
function limitedCaller(errno: () => number) {
  const waiting: (() => void)[] = [];
  let inFlightCount = 0;

  return (name: string, call: AsyncFunction, values: number[]): Promise<number> =>
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
