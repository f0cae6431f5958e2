/**
 * The way of a page that memory does not take: it stays readable where it lies, in the buffer of
 * the request that brought it, and is written to the image before that request is answered, behind
 * any older version of it that is on its way there. Whoever calls holds the lock of the pages.
 */

import type { BlockImage } from '../../image/image.ts';
import type { PooledBuffer } from '../../lib/buffer-pool.ts';
import type { Clock } from '../../lib/clock.ts';
import type { InFlight } from '../in-flight.ts';
import type { DirtyTier } from '../pages/dirty-tier.ts';
import type { DirtyRoom } from './dirty-room.ts';
import type { Writer } from './writer.ts';

export interface FallThroughOptions {
  readonly image: BlockImage;
  readonly tier: DirtyTier;
  readonly room: DirtyRoom;
  readonly inFlight: InFlight;
  readonly writer: Writer;
  readonly clock: Clock;
}

export class FallThrough {
  /** Pages that were refused and went to the image before their write was answered. */
  pageCount = 0;
  readonly #options: FallThroughOptions;
  readonly #pageBytes: number;

  constructor(options: FallThroughOptions) {
    this.#options = options;
    this.#pageBytes = options.tier.frontswap.pageBytes;
  }

  /** Puts the page. No means that it was refused: it must be held where it lies, and written. */
  put(page: number, src: Buffer, srcOffset: number): boolean {
    const { tier, room, clock } = this.#options;
    if (tier.put(page, src, srcOffset, clock.now())) return true;
    room.noteRefused();
    this.pageCount++;
    return false;
  }

  /** Writes the held pages of a range to the image; the page `first` lies at the start of `piece`. */
  async write(first: number, count: number, piece: PooledBuffer): Promise<void> {
    const { tier, inFlight, writer, clock } = this.#options;
    const change = inFlight.beginChange(first, count);
    let page = first;
    try {
      await writer.settled(first, count);
      while (page < first + count) {
        let end = page;
        while (end < first + count && tier.isHeld(end)) end++;
        if (end > page) await this.#writeRun(page, end, piece, first);
        for (; page < end; page++) tier.releaseWritten(page);
        page++; // the one behind the run is not held
      }
    } finally {
      for (page = first; page < first + count; page++) {
        if (tier.isHeld(page)) tier.releaseFailed(page, clock.now());
      }
      inFlight.endChange(change);
    }
  }

  #writeRun(page: number, end: number, piece: PooledBuffer, first: number): Promise<void> {
    const { image } = this.#options;
    const offset = page * this.#pageBytes;
    const bytes = Math.min((end - page) * this.#pageBytes, image.virtualSizeBytes - offset);
    const at = piece.dataOffset + (page - first) * this.#pageBytes;
    return image.write(piece.buffer, at, bytes, offset);
  }
}
