/** How the memory of a stack is divided between hot and zcache. */

/** The share of hot where nobody says another. */
export const HOT_FRACTION_DEFAULT = 0.25;

/** Below this a hot layer holds too few pages to be worth it, bytes. */
const HOT_BYTES_MIN = 1024 * 1024;
/** The share that zcache keeps whatever is asked for hot: same-filled pages cost next to nothing. */
const ZCACHE_SHARE_MIN = 1 / 64;

/** What hot has of the memory, of which it is to have a share from 0 to 1; 0 for no such layer. */
export function hotBytesOf(memoryBytes: number, hotFraction: number): number {
  const bytes = Math.floor(memoryBytes * Math.min(hotFraction, 1 - ZCACHE_SHARE_MIN));
  return bytes < HOT_BYTES_MIN ? 0 : bytes;
}
