/** Closing the descriptors of an open file. */

import fs from 'node:fs';

/**
 * Closes all of them in this order, whatever the system answers to one: each number is given up in any
 * case, close(2) says. Rejects with the first failure, which may be that of an earlier write.
 */
export async function closeDescriptors(fds: readonly (number | undefined)[]): Promise<void> {
  let failure: Error | null = null;
  for (const fd of fds) {
    if (fd === undefined) continue;
    const error = await new Promise<Error | null>((resolve) => {
      fs.close(fd, (cause) => resolve(cause ?? null));
    });
    failure ??= error;
  }
  if (failure !== null) throw failure;
}
