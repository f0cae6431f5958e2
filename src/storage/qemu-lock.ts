/**
 * QEMU's lock on an image, so that a virtual machine or qemu-img and this program keep out of each
 * other's way. One byte of the file stands for each thing that can be done with it: whoever does it
 * has a shared lock on that byte, whoever allows it to nobody else has one on another. The locks
 * belong to the open file description, and go with it.
 *
 * Source: QEMU, docs/system/qemu-block-drivers.rst ("Disk image file locking") and the layout of the
 * bytes in block/file-posix.c.
 */

import { systemErrorCode } from '../lib/errors.ts';
import type { Libc } from './libc.ts';

/** Where the bytes are, by what they say. */
const DONE_AT = 100;
const NOT_ALLOWED_AT = 200;

/** What can be done with an image: a place among those bytes. */
const READ = 0; // and see a consistent state
const WRITE = 1;
const RESIZE = 3;

/** Who writes lets nobody write besides; nor does who reads, for he keeps what he has read. */
const NOT_ALLOWED = [WRITE, RESIZE];

/** The byte that is locked by all who write. */
export const WRITTEN_AT = DONE_AT + WRITE;

/** What the system answers when somebody else has a byte exclusively; the latter of old kernels. */
const TAKEN = new Set(['EAGAIN', 'EACCES']);

/**
 * Locks the file for as long as the description of `fd` stays open; false, and nothing is locked, if
 * another description's locks are in the way. Where there are no such locks that is done as well:
 * then QEMU does without them, too.
 */
export async function lockAsQemu(fd: number, isReadOnly: boolean, libc: Libc): Promise<boolean> {
  try {
    if (await tryToLock(fd, isReadOnly, libc)) return true;
  } catch (cause) {
    if (!TAKEN.has(systemErrorCode(cause) ?? '')) return true;
  }
  await libc.unlockBytes(fd, DONE_AT, 2 * (NOT_ALLOWED_AT - DONE_AT));
  return false;
}

async function tryToLock(fd: number, isReadOnly: boolean, libc: Libc): Promise<boolean> {
  const done = isReadOnly ? [READ] : [READ, WRITE, RESIZE];
  // First one's own, then a look: of two that come at the same time one at least sees the other.
  for (const each of done) await libc.lockByte(fd, DONE_AT + each);
  for (const each of NOT_ALLOWED) await libc.lockByte(fd, NOT_ALLOWED_AT + each);
  for (const each of done) if (await libc.isByteLocked(fd, NOT_ALLOWED_AT + each)) return false;
  for (const each of NOT_ALLOWED) if (await libc.isByteLocked(fd, DONE_AT + each)) return false;
  return true;
}
