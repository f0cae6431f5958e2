/**
 * What a writer should take next: pages that a FLUSH waits for, those that have been dirty for too
 * long, and while there are too many, those that were written longest ago. A few hundred are chosen
 * at a time and taken in the order of the image.
 */

import type { Clock } from '../../lib/clock.ts';
import { NO_SLOT } from '../../tmem/page-index.ts';
import type { DirtyPages } from '../pages/dirty-pages.ts';
import type { DirtyRoom } from './dirty-room.ts';
import type { PageLocks } from './page-locks.ts';

/** When the writer begins, and how much it does at a time. */
export interface WriterTuning {
  /** A page is not dirty for longer than about this, milliseconds; Infinity for no such limit. */
  readonly ageMsMax: number;
  /**
   * Dirty pages at which writing begins, and at which it stops, as shares of the dirty limit. With
   * Infinity nothing is ever written to make room.
   */
  readonly highFraction: number;
  readonly lowFraction: number;
  /** Whether small gaps between dirty pages are closed; not where it is bytes that a write costs. */
  readonly closesGaps: boolean;
}

export interface WriterPlanOptions {
  readonly table: DirtyPages;
  readonly locks: PageLocks;
  readonly room: DirtyRoom;
  readonly clock: Clock;
  readonly tuning: WriterTuning;
  /** Whether the page is in a write of the image, which may have it in an older version. */
  readonly isUnderWay: (page: number) => boolean;
}

/** Pages that are sorted at a time. */
const PLAN_PAGES_MAX = 512;

export class WriterPlan {
  readonly #options: WriterPlanOptions;
  #pages: number[] = []; // the highest first
  #isReducing = false; // between the high and the low watermark

  constructor(options: WriterPlanOptions) {
    this.#options = options;
  }

  /** Whether there are so many dirty pages that writing should begin. */
  get isHigh(): boolean {
    const { table, room, tuning } = this.#options;
    return table.count >= room.limitPages * tuning.highFraction;
  }

  /** Whether pages are written to make room at all. */
  get canMakeRoom(): boolean {
    return this.#options.tuning.highFraction !== Number.POSITIVE_INFINITY;
  }

  /** Whether pages are written now because there are too many. */
  get isMakingRoom(): boolean {
    return this.#isReducing || this.#options.room.lackingPages > 0;
  }

  /** Forgets what was chosen. */
  clear(): void {
    this.#pages.length = 0;
  }

  /**
   * The next page in the order of the image, or -1 when nothing calls for writing. `isIdle` says
   * that nothing is under way.
   */
  next(isFlushing: boolean, isIdle: boolean): number {
    const chosen = this.#takeChosen();
    if (chosen >= 0) return chosen;
    this.#choose(isFlushing, isIdle);
    return this.#takeChosen();
  }

  /** The page that `next` answered could not be taken, and is the next again. */
  putBack(page: number): void {
    this.#pages.push(page);
  }

  /** The entry of the page if it may be taken now, or NO_SLOT. */
  takeable(page: number): number {
    const { table, locks, isUnderWay } = this.#options;
    const slot = table.find(page);
    if (slot === NO_SLOT || !table.isQueued(slot)) return NO_SLOT;
    return locks.isHeld(page) || isUnderWay(page) ? NO_SLOT : slot;
  }

  #takeChosen(): number {
    for (let page = this.#pages.pop(); page !== undefined; page = this.#pages.pop()) {
      if (this.takeable(page) !== NO_SLOT) return page;
    }
    return -1;
  }

  #choose(isFlushing: boolean, isIdle: boolean): void {
    const pages = this.#pages;
    this.#chooseOldest(isFlushing);
    if (pages.length === 0) this.#chooseColdest(this.#excessPages());
    // Pages that are waited for may be queued behind newer ones, if they were written meanwhile.
    if (pages.length === 0 && isFlushing && isIdle) this.#chooseColdest(PLAN_PAGES_MAX);
    pages.sort((a, b) => b - a);
  }

  #chooseOldest(isFlushing: boolean): void {
    const { table, clock, tuning } = this.#options;
    const due = clock.now() - tuning.ageMsMax;
    for (let slot = table.oldest; slot !== NO_SLOT; slot = table.nextOldest(slot)) {
      const isDue = table.dirtySince(slot) <= due || table.isRetried(slot);
      if (!isDue && !(isFlushing && table.isOwed(slot))) return;
      this.#chooseSlot(slot);
      if (this.#pages.length === PLAN_PAGES_MAX) return;
    }
  }

  #chooseColdest(most: number): void {
    const { table } = this.#options;
    const count = Math.min(most, PLAN_PAGES_MAX);
    let slot = table.coldest;
    while (slot !== NO_SLOT && this.#pages.length < count) {
      this.#chooseSlot(slot);
      slot = table.nextColdest(slot);
    }
  }

  #chooseSlot(slot: number): void {
    const page = this.#options.table.pageOf(slot);
    if (!this.#options.locks.isHeld(page)) this.#pages.push(page);
  }

  /** Pages that should become clean besides those that are on their way. */
  #excessPages(): number {
    const { table, room, tuning } = this.#options;
    if (!this.canMakeRoom) return 0;
    const stayDirty = table.count - table.writingCount;
    const excess = stayDirty - Math.floor(room.limitPages * tuning.lowFraction);
    if (this.isHigh) this.#isReducing = true;
    if (excess <= 0) this.#isReducing = false;
    return Math.max(this.#isReducing ? excess : 0, room.lackingPages - table.writingCount);
  }
}
