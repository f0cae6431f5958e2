/** Files that another program makes up, of which the kernel knows what that tells it. */

import { statfs } from 'node:fs/promises';
import { systemErrorCode } from '../lib/errors.ts';

/** Of <linux/magic.h>: FUSE, and virtiofs. */
const FUSE_MAGIC = 0x6573_5546;

/** Whether the file at `path` is on FUSE, as far as anybody knows. */
export async function isOnFuse(path: string): Promise<boolean> {
  try {
    return (await statfs(path)).type === FUSE_MAGIC;
  } catch (cause) {
    return systemErrorCode(cause) !== 'ENOENT'; // the program may have no answer
  }
}
