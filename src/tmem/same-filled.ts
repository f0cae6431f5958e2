/** Pages that repeat one 32-bit word: most often zeros, held as metadata only. */

/**
 * Whether the page at `src[offset]` repeats its first word. First and last word are compared first,
 * which settles nearly every page that does not (zram does the same); then a page that equals
 * itself a word further on is one that repeats.
 */
export function isSameFilled(src: Buffer, offset: number, pageBytes: number): boolean {
  const end = offset + pageBytes;
  if (src.readInt32LE(offset) !== src.readInt32LE(end - 4)) return false;
  return src.compare(src, offset, end - 4, offset + 4, end) === 0;
}
