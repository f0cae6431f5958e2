/**
 * Where a report goes. Apart from what makes it, which is loaded when there is something to make:
 * the library for charts is large, and a replay has a use for the memory.
 */

import { lstat } from 'node:fs/promises';
import path from 'node:path';
import { kindOfSystemError, systemErrorCode, TmemError } from '../../lib/errors.ts';

/** What went wrong, as the end of a sentence. */
export function reasonOf(cause: unknown): string {
  const code = systemErrorCode(cause);
  if (code !== undefined) return code;
  return cause instanceof Error ? cause.message.replace(/\.$/, '') : String(cause);
}

/** Throws a usage error if there is anything by that name, or no folder to make it in. */
export async function refuseExisting(folder: string): Promise<void> {
  const has = async (file: string): Promise<boolean> => {
    try {
      await lstat(file);
      return true;
    } catch (cause) {
      if (systemErrorCode(cause) === 'ENOENT') return false;
      throw new TmemError(
        kindOfSystemError(cause),
        `--out: ${file} cannot be looked at: ${reasonOf(cause)}`,
        { cause },
      );
    }
  };
  if (await has(folder)) {
    throw new TmemError(
      'busy',
      `--out: ${folder} exists; name a folder that does not, or remove it`,
    );
  }
  const parent = path.dirname(folder);
  if (!(await has(parent))) {
    throw new TmemError('not-found', `--out: there is no folder ${parent} to make the report in`);
  }
}
