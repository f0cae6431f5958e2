/**
 * How positioned reads and writes reach the kernel: by io_uring where it is to be had, else by
 * Node's own calls on the threads of libuv.
 */

import { isOnFuse } from './fuse.ts';
import { type PositionedIo, THREAD_IO } from './thread-io.ts';
import { DiskRing } from './uring/disk-ring.ts';
import { bindUringCalls } from './uring/system-calls.ts';

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
  // Without /proc nobody knows.
  return (await isOnFuse(`/proc/self/fd/${fd}`)) ? THREAD_IO : positionedIo();
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
  const { places, read, write } = ring;
  return { name: 'io_uring', places, read, write };
}
