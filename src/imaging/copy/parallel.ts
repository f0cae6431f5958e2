/** Work on the pieces of a disk, several at once. */

import type { WorkOptions } from '../progress.ts';
import type { Piece, Pieces } from './pieces.ts';

export interface ParallelWork extends WorkOptions {
  readonly pieces: Pieces;
  readonly totalBytes: number;
  readonly workers: number;
  /**
   * Makes what works on one piece after the other. Pieces are begun in order, and each that is given
   * out is begun. False when no other needs to be: what was found is enough.
   */
  readonly newWorker: () => (piece: Piece) => Promise<boolean>;
}

/**
 * Resolves when all pieces are done, or a worker has answered false: then those before its piece are
 * done as well. Rejects with the first failure when nothing is under way any more.
 */
export async function workThrough(options: ParallelWork): Promise<void> {
  const { pieces, totalBytes, workers, newWorker, onProgress, signal } = options;
  let isEnded = false;
  let doneBytes = 0;
  const run = async (): Promise<void> => {
    const work = newWorker();
    while (!isEnded) {
      signal?.throwIfAborted();
      const piece = await pieces.next();
      if (piece === undefined) return;
      if (!(await work(piece))) isEnded = true;
      doneBytes += piece.length;
      if (!isEnded) onProgress?.({ doneBytes, totalBytes });
    }
  };
  const running = Array.from({ length: workers }, () =>
    run().catch((cause: unknown) => {
      isEnded = true;
      throw cause;
    }),
  );
  const results = await Promise.allSettled(running);
  const failed = results.find((result) => result.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
  signal?.throwIfAborted();
}
