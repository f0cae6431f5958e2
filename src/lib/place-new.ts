/** Giving a finished file its name, where nobody has that yet. */

import { link, rename } from 'node:fs/promises';
import { systemErrorCode } from './errors.ts';

/** What a file system answers to link(2) that has no hard links, or no more of them. */
const NO_LINKS = new Set(['EPERM', 'EOPNOTSUPP', 'ENOTSUP', 'ENOSYS', 'EMLINK']);

/**
 * Gives the file at `from` the name `to` as well, or instead: whoever calls removes `from`, which may be
 * gone. Rejects as the system does, with EEXIST where somebody else was quicker: a link fails then, as a
 * rename does not. Where there are no links `checkIsFree`, which rejects if `to` is taken, has to do.
 */
export async function placeNew(
  from: string,
  to: string,
  checkIsFree: () => Promise<void>,
): Promise<void> {
  try {
    await link(from, to);
  } catch (cause) {
    if (!NO_LINKS.has(systemErrorCode(cause) ?? '')) throw cause;
    await checkIsFree();
    await rename(from, to);
  }
}
