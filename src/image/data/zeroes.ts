/** Zeros: what they are written from, and whether there is anything else. */

import { alignedBuffer } from '../../lib/aligned-buffer.ts';

/** What zeros are written from, and the most that one write of them writes; not to be changed. */
export const zeroes = alignedBuffer(256 * 1024);

/** Whether `length` bytes from `at` are zeros; memory's own speed. */
export function isZero(buffer: Buffer, at: number, length: number): boolean {
  // Most content shows it at once.
  if (length > 0 && buffer[at + (length >> 1)] !== 0) return false;
  for (let done = 0; done < length; done += zeroes.length) {
    const bytes = Math.min(zeroes.length, length - done);
    if (buffer.compare(zeroes, 0, bytes, at + done, at + done + bytes) !== 0) return false;
  }
  return true;
}
