/** The hash that decides which pages a sample takes: the same pages for the same salt, always. */

/** One more than the largest hash. */
export const HASH_RANGE = 2 ** 32;

/**
 * A u32 hash of a u32 `key`. Sampling compares it with a threshold, so every bit must depend on
 * every bit of the key: the finaliser of MurmurHash3, which is a bijection for each salt.
 */
export function pageHash(key: number, salt: number): number {
  let hash = (key ^ Math.imul(salt, 0x9e3779b1)) | 0;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
