/** How large slabs are, within what the memory of a layer can spare and a page needs. */

const SLAB_BYTES_MIN = 64 * 1024;
const SLAB_BYTES_MAX = 256 * 1024;

/** The power of two up to `wantedBytes` that slabs may have, or what one page needs if more. */
export function slabBytesNear(wantedBytes: number, pageBytesMax: number): number {
  const wanted = 2 ** Math.floor(Math.log2(Math.max(1, wantedBytes)));
  return Math.max(pageBytesMax, Math.min(SLAB_BYTES_MAX, Math.max(SLAB_BYTES_MIN, wanted)));
}
