/**
 * Whether the file that was opened at a path is there still: another program may remove or rename it,
 * or put another one in its place, and what is open notices nothing.
 */

import fs from 'node:fs';
import { promisify } from 'node:util';
import { systemErrorCode } from '../lib/errors.ts';

const statDescriptor = promisify(fs.fstat);

/**
 * `kept` where the path leads to the file; `moved` where it does not, but the file has a name somewhere;
 * `lost` where it has none: it ends when it is closed.
 */
export type FileNameState = 'kept' | 'moved' | 'lost';

/** A file that is open. */
export interface NamedFile {
  /** Its path. */
  readonly name: string;
  /** What has become of the path since; rejects when it is closed, or nobody can tell. */
  nameState(): Promise<FileNameState>;
}

/** The state of the file that is open as `fd`. A device is `kept`: it stays, whatever its node does. */
export async function nameStateOf(path: string, fd: number): Promise<FileNameState> {
  const opened = await statDescriptor(fd, { bigint: true });
  if (!opened.isFile()) return 'kept';
  try {
    const { dev, ino } = await fs.promises.stat(path, { bigint: true });
    if (dev === opened.dev && ino === opened.ino) return 'kept';
  } catch (cause) {
    const code = systemErrorCode(cause);
    if (code !== 'ENOENT' && code !== 'ENOTDIR') throw cause;
  }
  // Anew: the last name went after the first look, or when the path was given to another file.
  return (await statDescriptor(fd, { bigint: true })).nlink === 0n ? 'lost' : 'moved';
}
