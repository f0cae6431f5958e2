/** Pages that repeat one 32-bit word: most often zeros, held as metadata only. */

/**
 * Whether the page repeats its first word. `words` views exactly one page. The last word is
 * compared first, which settles nearly every page that is not same-filled (zram does the same).
 */
export function isSameFilled(words: Int32Array): boolean {
  const first = words[0]!;
  if (words[words.length - 1] !== first) return false;
  for (let i = 1; i < words.length; i++) if (words[i] !== first) return false;
  return true;
}
