/** Whether a path leads anywhere. */

import { access } from 'node:fs/promises';

/** Whether there is something at `path`; a link that leads nowhere is not. */
export function isThere(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
