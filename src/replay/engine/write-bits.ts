/** Which of the accesses of a stream are writes, and which of them drop their pages. */

import type { PageStream } from './page-stream.ts';

/** The bit of an access: 32 in a word, the lowest first. */
export function bitAt(bits: Int32Array, at: number): boolean {
  return ((bits[at >>> 5]! >>> (at & 31)) & 1) === 1;
}

/** The bits of what is no use of a page, but drops it; undefined where nothing is. */
export function dropBitsOf({
  ops,
  writeBits,
}: Partial<Pick<PageStream, 'ops' | 'writeBits'>>): Int32Array | undefined {
  return ops === 'writes-invalidate' ? writeBits : undefined;
}
