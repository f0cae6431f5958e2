/**
 * The memory limit of a layer: data and metadata together, hard. Room is made by giving up pages, a
 * bounded number of them for each put.
 */

import { NO_SLOT, type PageIndex } from './page-index.ts';
import { NO_LOCATION, type Slabs } from './slabs.ts';

/** Above the limit by more than this, a put cannot hope to get below it. */
const FAR_BYTES = 512 * 1024;
const TRIES_WHEN_FAR_MAX = 8;

export interface BudgetOptions<Asking> {
  /** The first limit. */
  readonly limitBytes: number;
  /** What the layer holds at this moment, data and metadata. */
  readonly usedBytes: () => number;
  /**
   * One step towards room for who asks, by a page or a slab; false when there is nothing left to
   * give up.
   */
  readonly makeRoom: (asking: Asking) => boolean;
  /** Steps that one put may take for its metadata, for its bytes, and again to fit. */
  readonly triesMax: number;
  /** Bytes that one more page takes beside the index and the slabs, at most. */
  readonly pageBytes: (isSlotFresh: boolean) => number;
}

export class Budget<Asking> {
  /** The most that the layer may hold. Lowering it evicts nothing; puts do, a few pages each. */
  limitBytes: number;
  readonly #options: BudgetOptions<Asking>;

  constructor(options: BudgetOptions<Asking>) {
    this.#options = options;
    this.limitBytes = options.limitBytes;
  }

  /** What the layer holds at this moment. */
  get usedBytes(): number {
    return this.#options.usedBytes();
  }

  /** Whether so many bytes more are within the limit. */
  allows(bytes: number): boolean {
    return this.#options.usedBytes() + bytes <= this.limitBytes;
  }

  /** A slot for one more page of the object, or NO_SLOT when no room could be made for it. */
  insert(asking: Asking, index: PageIndex, pool: number, object: number, page: number): number {
    const { makeRoom, pageBytes } = this.#options;
    if (!index.mayHave(pool, object)) return NO_SLOT;
    for (let tries = this.#tries; tries > 0; tries--) {
      const bytes = index.growthFor(pool, object) + pageBytes(index.isNextSlotFresh);
      if (this.allows(bytes) && !index.isFull) return index.insert(pool, object, page);
      if (!makeRoom(asking)) return NO_SLOT;
    }
    return NO_SLOT;
  }

  /**
   * Room for one more page of the object that is in the index already, under another name, and
   * for `bytes` beside that.
   */
  roomToMove(
    asking: Asking,
    index: PageIndex,
    pool: number,
    object: number,
    bytes: number,
  ): boolean {
    for (let tries = this.#tries; tries > 0; tries--) {
      if (this.allows(index.moveGrowthFor(pool, object) + bytes)) return true;
      if (!this.#options.makeRoom(asking)) return false;
    }
    return false;
  }

  /** A place for `bytes`, or NO_LOCATION when no room could be made for them. */
  allocate(asking: Asking, slabs: Slabs, bytes: number, slot: number): number {
    let location = slabs.allocate(bytes, slot);
    for (let tries = this.#tries; location === NO_LOCATION && tries > 0; tries--) {
      if (!this.#options.makeRoom(asking)) break;
      location = slabs.allocate(bytes, slot);
    }
    return location;
  }

  /**
   * Gets back under the limit: a policy remembers pages that left, and that is metadata too. Where
   * the limit was lowered it gets nearer to it by a bounded number of steps.
   */
  fit(asking: Asking): void {
    if (this.allows(0)) return;
    for (let tries = this.#tries; tries > 0 && !this.allows(0); tries--) {
      if (!this.#options.makeRoom(asking)) return;
    }
  }

  /** Where the limit was lowered by much, no put gets there: each makes a few steps towards it. */
  get #tries(): number {
    const { triesMax } = this.#options;
    return this.allows(-FAR_BYTES) ? triesMax : Math.min(triesMax, TRIES_WHEN_FAR_MAX);
  }
}
