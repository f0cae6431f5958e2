/** Copies of the image, so that what one server writes is no other's start. */

import { closeSync, constants, copyFileSync, fdatasyncSync, openSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { BenchImage } from './image.ts';
import type { Processes } from './processes.ts';

export interface CopyOptions {
  readonly processes: Processes;
  readonly image: BenchImage;
  readonly workFolder: string;
  /** The server goes around the page cache, so the copy should not be in it. */
  readonly isUncached: boolean;
}

/** A copy that is on the disk, and what removes it. One at a time: it has always the same name. */
export async function makeCopy(options: CopyOptions): Promise<{
  readonly image: BenchImage;
  remove(): void;
}> {
  const { processes, image, workFolder, isUncached } = options;
  const path = join(workFolder, 'copy.img');
  const remove = () => rmSync(path, { force: true });
  processes.onLeave(remove);
  copyFileSync(image.path, path, constants.COPYFILE_FICLONE);
  syncFile(path);
  if (isUncached) await dropFromPageCache(processes, path);
  return { image: { ...image, path }, remove };
}

/** What is still to be written of a file would disturb what is measured. */
export function syncFile(path: string): void {
  const file = openSync(path, 'r+');
  fdatasyncSync(file);
  closeSync(file);
}

/** Copying nothing with this flag has the kernel let go of the whole file. */
export async function dropFromPageCache(processes: Processes, path: string): Promise<void> {
  await processes.run('dd', [
    ...[`of=${path}`, 'oflag=nocache', 'conv=notrunc,fdatasync', 'count=0', 'status=none'],
  ]);
}
