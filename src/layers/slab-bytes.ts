/** How large slabs are, within what the memory of a layer can spare and a page needs. */

import { SLAB_COUNT_MAX } from '../tmem/slabs.ts';

const SLAB_BYTES_MIN = 64 * 1024;
/** Where that many of them, as many as there can be, are enough for the layer: to 256 GiB. */
const SLAB_BYTES_MAX = 256 * 1024;

/** The power of two up to `wantedBytes` that slabs may have, or what the layer or one page needs if more. */
export function slabBytesNear(
  limitBytes: number,
  wantedBytes: number,
  pageBytesMax: number,
): number {
  const wanted = 2 ** Math.floor(Math.log2(Math.max(1, wantedBytes)));
  const least = 2 ** Math.ceil(Math.log2(Math.max(1, limitBytes / SLAB_COUNT_MAX)));
  const near = Math.min(SLAB_BYTES_MAX, Math.max(SLAB_BYTES_MIN, wanted));
  return Math.max(pageBytesMax, least, near);
}
