/**
 * How positioned reads and writes reach the kernel: by io_uring where it is to be had, else by
 * Node's own calls on the threads of libuv.
 */

import fs from 'node:fs';
import { systemErrorCode } from '../lib/errors.ts';
import { type PositionedIo, THREAD_IO } from './thread-io.ts';
import { DiskRing } from './uring/disk-ring.ts';
import { bindUringCalls } from './uring/system-calls.ts';

/** Of <linux/magic.h>: FUSE, and virtiofs. */
const FUSE_MAGIC = 0x6573_5546;

let found: Promise<PositionedIo> | undefined;

/**
 * The best there is. A ring belongs to the thread that made it, as its event loop does, and stays for
 * as long as the process: only the main thread opens files.
 */
export function positionedIo(): Promise<PositionedIo> {
  found ??= openRing();
  return found;
}

/**
 * The best for an open file. What is to be handed over at once, and left to a worker if it would have
 * to wait, FUSE waits for all the same (seen: Linux 6.18): with the event loop, for a program that may
 * hang. So its files go by threads.
 */
export async function positionedIoOf(fd: number): Promise<PositionedIo> {
  const type = await fs.promises.statfs(`/proc/self/fd/${fd}`).then(
    (found) => found.type,
    // Without /proc nobody knows; and a FUSE program may have no answer.
    (cause: unknown) => (systemErrorCode(cause) === 'ENOENT' ? undefined : FUSE_MAGIC),
  );
  return type === FUSE_MAGIC ? THREAD_IO : positionedIo();
}

/** From now on `positionedIo` answers this one. */
export function choosePositionedIo(io: PositionedIo): void {
  found = Promise.resolve(io);
}

async function openRing(): Promise<PositionedIo> {
  const calls = await bindUringCalls();
  if (calls === undefined) return THREAD_IO;
  const ring = DiskRing.open(calls);
  if (typeof ring === 'string') return { ...THREAD_IO, name: `threads (no io_uring: ${ring})` };
  return { name: 'io_uring', read: ring.read, write: ring.write };
}
