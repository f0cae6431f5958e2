/** How large pages may be: what the stack is made for, and a configuration may ask of it. */

/** The smallest and the largest page, bytes; powers of two in between. */
export const PAGE_BYTES_MIN = 4096;
export const PAGE_BYTES_MAX = 65536;

/** Whether pages may have that many bytes. */
export function isPageBytes(bytes: number): boolean {
  const isPowerOfTwo = Number.isInteger(bytes) && (bytes & (bytes - 1)) === 0;
  return isPowerOfTwo && bytes >= PAGE_BYTES_MIN && bytes <= PAGE_BYTES_MAX;
}
