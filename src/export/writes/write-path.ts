/**
 * What an export does with writes: the seam between the modes. Ranges are bytes inside the export.
 */

import type { PooledBuffer } from '../../lib/buffer-pool.ts';

export interface WritePath {
  /**
   * Takes a write whose bytes lie at `src[srcOffset]`, in the same turn of the event loop. No means
   * that nothing was done and it must come again through `write`; a promise, that it was taken and
   * will be done then. When it answers, the bytes have been copied.
   */
  tryWrite(offset: number, length: number, src: Buffer, srcOffset: number): boolean | Promise<void>;

  /**
   * Writes the bytes that lie in `piece`, at their place in their first page. The rest of the pages
   * in `piece` may be overwritten. When it fails nothing older than what was there is left behind.
   */
  write(offset: number, length: number, piece: PooledBuffer): Promise<void>;

  /** The range reads as zeros afterwards; see `Storage.writeZeroes`. */
  writeZeroes(
    offset: number,
    length: number,
    mayDiscard: boolean,
    mustBeFast: boolean,
  ): Promise<void>;

  /** The range is no longer needed: it leaves memory, and the medium where it can. */
  trim(offset: number, length: number): Promise<void>;

  /** Resolves when every change that was answered before is on stable storage. One at a time. */
  sync(): Promise<void>;

  /** Ends timers and what goes on by itself. */
  close(): void;
}
