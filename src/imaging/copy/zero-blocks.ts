/** Finding the zeros in what was read. */

import { alignedBuffer } from '../../lib/aligned-buffer.ts';

/** What zeros are compared with. */
const zeroes = alignedBuffer(64 * 1024);

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

/** What is to be done with a run of blocks. */
export type BlockUse = 'leave' | 'zero' | 'write';

/**
 * Calls `visit` for every run of blocks of `blockBytes` of one use in the first `length` bytes, but
 * those to be left. The last block may be cut.
 */
export function forEachRun(
  length: number,
  blockBytes: number,
  useOf: (at: number, bytes: number) => BlockUse,
  visit: (use: BlockUse, at: number, bytes: number) => void,
): void {
  let start = 0;
  let use: BlockUse = 'leave';
  for (let at = 0; at < length; at += blockBytes) {
    const next = useOf(at, Math.min(blockBytes, length - at));
    if (next === use) continue;
    if (use !== 'leave') visit(use, start, at - start);
    start = at;
    use = next;
  }
  if (use !== 'leave') visit(use, start, length - start);
}
