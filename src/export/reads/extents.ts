/**
 * What of an export is allocated, and what is zeros: as its image says, but for what was written and the
 * image does not have yet, which is data.
 */

import type { BlockImage } from '../../image/image.ts';
import { turnOfTheLoop } from '../../lib/turn-of-the-loop.ts';
import type { DirtyTier } from '../pages/dirty-tier.ts';

/** A run of bytes of one allocation state. */
export interface ExportExtent {
  readonly length: number;
  readonly isHole: boolean;
  readonly isZero: boolean;
  /** Which image of the chain holds it: 0 for the image itself, 1 for its backing image, … */
  readonly depth: number;
  /** Whether any image of the chain holds it, if only as zeros. */
  readonly isAllocated: boolean;
}

/** What is to be written to the image is in it as good as already. */
const WRITTEN = { isHole: false, isZero: false, depth: 0, isAllocated: true } as const;

/** Pages that are searched in one turn of the event loop for writes that the image does not have yet. */
const PAGES_PER_TURN = 65_536;
/** How often the image is asked while pages keep getting clean; then it is called data. */
const EXTENT_TRIES_MAX = 4;

export class Extents {
  readonly #image: BlockImage;
  readonly #tier: DirtyTier | undefined;
  readonly #pageBytes: number;

  /** `tier` only where writes are written back. */
  constructor(image: BlockImage, tier: DirtyTier | undefined, pageBytes: number) {
    this.#image = image;
    this.#tier = tier;
    this.#pageBytes = pageBytes;
  }

  /** Allocation states from `offset` on, neighbours joined; at most `countMax` of them. */
  async list(offset: number, length: number, countMax: number): Promise<ExportExtent[]> {
    const extents: ExportExtent[] = [];
    let seenBytes = 0;
    for (let at = 0; at < length; ) {
      if (seenBytes >= PAGES_PER_TURN * this.#pageBytes) {
        await turnOfTheLoop(); // others come between
        seenBytes = 0;
      }
      const extent = await this.#extent(offset + at, length - at);
      const bytes = Math.min(extent.length, length - at);
      const last = extents.at(-1);
      if (last !== undefined && isSameState(last, extent)) {
        extents[extents.length - 1] = { ...last, length: last.length + bytes };
      } else if (extents.length === countMax) {
        break;
      } else {
        extents.push({ ...extent, length: bytes });
      }
      at += bytes;
      seenBytes += bytes;
    }
    return extents;
  }

  /** The state at `offset`: the image's, or data where it does not have what was written. */
  async #extent(offset: number, length: number): Promise<ExportExtent> {
    const tier = this.#tier;
    for (let tries = 0; tries < EXTENT_TRIES_MAX; tries++) {
      const writtenCount = tier?.writtenCount;
      const extent = await this.#image.extent(offset, length);
      if (tier === undefined || !(extent.isHole || extent.isZero)) return extent;
      // What was dirty when the image was asked may be clean by now, and data.
      if (tier.writtenCount === writtenCount) return this.#besidesDirty(tier, offset, extent);
    }
    const bytes = Math.min(length, this.#pageBytes - (offset % this.#pageBytes));
    return { ...WRITTEN, length: bytes };
  }

  #besidesDirty(tier: DirtyTier, offset: number, extent: ExportExtent): ExportExtent {
    if (tier.isEmpty) return extent;
    const pageBytes = this.#pageBytes;
    const first = Math.floor(offset / pageBytes);
    const isDirty = tier.has(first);
    const most = Math.min(PAGES_PER_TURN, Math.ceil(extent.length / pageBytes));
    let page = first + 1;
    while (page < first + most && tier.has(page) === isDirty) page++;
    const bytes = Math.min(extent.length, page * pageBytes - offset);
    if (isDirty) return { ...WRITTEN, length: bytes };
    return { ...extent, length: bytes };
  }
}

function isSameState(a: ExportExtent, b: ExportExtent): boolean {
  return (
    a.isHole === b.isHole &&
    a.isZero === b.isZero &&
    a.depth === b.depth &&
    a.isAllocated === b.isAllocated
  );
}
