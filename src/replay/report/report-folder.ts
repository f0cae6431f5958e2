/**
 * Where a report goes. Apart from what makes it, which is loaded when there is something to make:
 * the library for charts is large, and a replay has a use for the memory.
 */

import { access, constants, lstat } from 'node:fs/promises';
import path from 'node:path';
import { kindOfSystemError, systemErrorCode, TmemError, writeAdvice } from '../../lib/errors.ts';
import { isThere } from '../../lib/is-there.ts';

/** What went wrong, as the end of a sentence. */
export function reasonOf(cause: unknown): string {
  const code = systemErrorCode(cause);
  if (code !== undefined) return code;
  return cause instanceof Error ? cause.message.replace(/\.$/, '') : String(cause);
}

/** Throws a TmemError if there is anything by that name, or if it cannot be made there. */
export async function refuseExisting(folder: string): Promise<void> {
  const parent = path.dirname(folder);
  try {
    // Now, and not when everything has been simulated.
    await access(parent, constants.W_OK | constants.X_OK);
    await lstat(folder);
  } catch (cause) {
    if (systemErrorCode(cause) === 'ENOENT' && (await isThere(parent))) return;
    const kind = kindOfSystemError(cause);
    const sentence = `--out: no report can be made in ${parent}: ${reasonOf(cause)}`;
    throw new TmemError(kind, `${sentence}; ${writeAdvice(kind)}`, { cause });
  }
  throw new TmemError('busy', `--out: ${folder} exists; name a folder that does not, or remove it`);
}
