/** Whether a stack has room for pages that nobody has asked for: none is to leave for them. */

import type { Account } from '../tmem/account.ts';
import { evictedForMemory, type Layer } from '../tmem/layer.ts';
import type { Tmem } from '../tmem/tmem.ts';

/** What stays free in the last layer, so that the first pages that are asked for push out none. */
const RESERVE_SHARE = 1 / 16;
const RESERVE_BYTES_MAX = 4 * 1024 * 1024;
/** While much is free it is added up at every so many looks only: a few pages do not take it. */
const LOOKS_PER_SUM = 8;
/** Much is so many times the reserve. */
const MUCH = 4;

export class Room {
  readonly #layers: readonly Layer[];
  readonly #evictedAtStart: number;
  #looks = 0;
  #isMuchFree = false;

  /** Room of the stack from now on: what was evicted before does not count. */
  constructor(tmem: Tmem) {
    this.#layers = tmem.layers;
    this.#evictedAtStart = this.#evicted;
  }

  /** False when the last layer is nearly full, or pages have had to leave the stack. */
  get isLeft(): boolean {
    if (this.#evicted > this.#evictedAtStart) return false;
    if (this.#looks++ % LOOKS_PER_SUM > 0 && this.#isMuchFree) return true;
    const usage = this.#layers.at(-1)?.usage();
    if (usage === undefined) return false;
    const { limitBytes, dataBytes, metadataBytes, filledPages, filledPagesMax } = usage;
    const reserveBytes = Math.min(RESERVE_BYTES_MAX, limitBytes * RESERVE_SHARE);
    const freeBytes = limitBytes - dataBytes - metadataBytes;
    this.#isMuchFree = freeBytes >= MUCH * reserveBytes;
    return freeBytes >= reserveBytes && filledPages + LOOKS_PER_SUM < filledPagesMax;
  }

  /** Whether a page of that many bytes, and what it costs besides, is within the cap of an account. */
  isWithinCap({ usedBytes, capBytes }: Account, pageBytes: number): boolean {
    return usedBytes + 2 * pageBytes <= capBytes;
  }

  /** Pages that left the stack for want of memory, or because it was taken back; not to a cap. */
  get #evicted(): number {
    let count = evictedForMemory(this.#layers);
    for (const { statistics } of this.#layers) count += statistics.evictedForShrink;
    return count;
  }
}
