/** What is to be done with the blocks of what was read, in runs. */

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
