/** How the files of images that are only read were at the start: nobody may change them meanwhile. */

import { inTime } from '../lib/in-time.ts';
import { type FileStamp, isSameStamp, trustedStamp } from '../storage/file-stamp.ts';

/** How long a disk may take to tell, milliseconds. */
const STAMP_MS_MAX = 10_000;

export class OpenedFiles {
  readonly #stamps = new Map<string, FileStamp | undefined>();

  /** To be awaited before the first page is read. A file that does not tell is as unlike as can be. */
  async note(paths: readonly string[]): Promise<void> {
    const stamping = paths.map(async (path) => {
      const stamp = inTime(trustedStamp(path), STAMP_MS_MAX, `"${path}"`);
      this.#stamps.set(path, await stamp.catch(() => undefined));
    });
    await Promise.all(stamping);
  }

  /** Whether the file is as it was when it was noted. */
  isSame(path: string, stamp: FileStamp): boolean {
    const opened = this.#stamps.get(path);
    return opened !== undefined && isSameStamp(opened, stamp);
  }
}
