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

/**
 * A u32 hash that spreads a sample over the pages: of every aligned run of 2^k pages exactly one has
 * a hash below 2^(32-k), each with the same probability, and independently of other runs. Pages
 * beside each other are used alike, so that such a sample is like the whole in less pages than one
 * by `pageHash`. A bijection of the first 2^32 pages for each salt, and of each 2^32 beyond them, whose
 * pages are spread otherwise; the low bits of the hash say little.
 *
 * Owen's nested uniform scrambling of the reversed page number, so that which page of a run is taken
 * depends on the run; by a hash whose bits depend on lower bits alone, as in Laine and Karras,
 * "Stratified sampling for stochastic transparency" (EGSR'11), section 4.3.
 */
export function spreadHash(page: number, salt: number): number {
  if (page >= HASH_RANGE) {
    return spreadHash(page % HASH_RANGE, pageHash(Math.floor(page / HASH_RANGE), salt));
  }
  let x = page;
  x = ((x >>> 1) & 0x5555_5555) | ((x & 0x5555_5555) << 1);
  x = ((x >>> 2) & 0x3333_3333) | ((x & 0x3333_3333) << 2);
  x = ((x >>> 4) & 0x0f0f_0f0f) | ((x & 0x0f0f_0f0f) << 4);
  x = ((x >>> 8) & 0x00ff_00ff) | ((x & 0x00ff_00ff) << 8);
  x = (x >>> 16) | (x << 16);
  x ^= Math.imul(x, 0x3d20adea);
  x = (x + salt) | 0;
  x = Math.imul(x, (salt >>> 16) | 1);
  x ^= Math.imul(x, 0x05526c56);
  x ^= Math.imul(x, 0x53a22864);
  return x >>> 0;
}
