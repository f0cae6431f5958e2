/** Tables that are in memory as a whole, for as long as their image is open. */

import { TmemError } from '../../lib/errors.ts';
import { formatSize } from '../../lib/sizes.ts';

/**
 * To be asked before they are read. Throws `usage` for an image that has more `bytes` of them than
 * may be.
 */
export function checkPinned(
  name: string,
  bytes: number,
  { pinnedBytesMax = Number.POSITIVE_INFINITY }: { readonly pinnedBytesMax?: number | undefined },
): void {
  if (bytes <= pinnedBytesMax) return;
  const what = `${formatSize(bytes)} of its tables are in memory as long as it is open`;
  const limit = `${formatSize(pinnedBytesMax)} may be`;
  throw new TmemError(
    'usage',
    `cannot open "${name}": ${what}, and ${limit}; give more memory, or convert it to larger units`,
    { context: { image: name, bytes, pinnedBytesMax } },
  );
}
