/** When each page of a stream is used next: what Belady's policy is told. */
import { TmemError } from '../../lib/errors.ts';
import { NEVER_USED } from '../../policy/belady.ts';
import type { PageStream } from './page-stream.ts';

/**
 * By index of the stream: the index of the next access to the same page, or `NEVER_USED` if there
 * is none, or if it is dropped first. On shared memory; 4 bytes a request. Throws a usage error for
 * a stream that came through a pipe, whose future no second reading can confirm.
 */
export function nextUsesOf(stream: PageStream): Int32Array {
  if (!stream.canRereads) {
    throw new TmemError(
      'usage',
      `belady has to know the whole of ${stream.traceName} before it begins, and a pipe can be ` +
        'read once; save the trace to a file, or leave belady out',
    );
  }
  const { ids, pageCount, requestCount, ops } = stream;
  const drops = ops === 'writes-invalidate' ? stream.writeBits : undefined;
  const nextUses = new Int32Array(new SharedArrayBuffer(requestCount * 4));
  const nextByPage = new Int32Array(pageCount).fill(NEVER_USED);
  for (let i = requestCount - 1; i >= 0; i--) {
    const id = ids[i]!;
    nextUses[i] = nextByPage[id]!;
    const isDrop = drops !== undefined && ((drops[i >>> 5]! >>> (i & 31)) & 1) === 1;
    nextByPage[id] = isDrop ? NEVER_USED : i;
  }
  return nextUses;
}
