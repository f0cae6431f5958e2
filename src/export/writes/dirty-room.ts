/**
 * Room for dirty pages: how many there may be, and who waits until there are fewer. The limit is
 * what was set, or less where memory was seen to refuse pages before; then it rises again, little
 * by little, while nothing is refused.
 *
 * Whoever was let in has its pages reserved until they are dirty, so that those who wait are let in
 * one after another, as there is room for each.
 */

import type { Clock } from '../../lib/clock.ts';
import type { DirtyPages } from '../pages/dirty-pages.ts';

/** After a refusal the limit falls to this share of what was dirty then. */
const CEILING_FALL = 0.9;
/** Without a refusal for so long it may rise again, milliseconds; by this share at a time. */
const CEILING_CALM_MS = 1000;
const CEILING_RISE = 1.125;
/** It does not fall below so many pages: they are what a few requests bring. */
const CEILING_PAGES_MIN = 256;

export interface DirtyRoomOptions {
  readonly table: DirtyPages;
  readonly clock: Clock;
  /** Has a writer look whether there is something to write. */
  readonly kick: () => void;
  /** Whether pages may still become clean, so that waiting can help. */
  readonly canProgress: () => boolean;
}

interface Waiting {
  readonly first: number;
  readonly count: number;
  readonly enter: (reservedPages: number) => void;
}

export class DirtyRoom {
  /** Writes that waited. */
  waitCount = 0;
  readonly #options: DirtyRoomOptions;
  /** Never above the table's capacity. */
  #ceiling: number;
  #changedAt = Number.NEGATIVE_INFINITY;
  #reservedPages = 0;
  #waiting: Waiting[] = [];

  constructor(options: DirtyRoomOptions) {
    this.#options = options;
    this.#ceiling = options.table.capacity;
  }

  /** Dirty pages that there may be now. */
  get limitPages(): number {
    return this.#ceiling;
  }

  /** Pages that must become clean before the first of those who wait is let in; 0 if nobody is. */
  get lackingPages(): number {
    const next = this.#waiting[0];
    if (next === undefined) return 0;
    const { table } = this.#options;
    return Math.max(0, table.count + this.#reservedPages + this.#wanted(next) - this.limitPages);
  }

  /** Whether these pages may become dirty in this turn. */
  has(first: number, count: number): boolean {
    const { table } = this.#options;
    const isRoomy = table.count + this.#reservedPages + count <= this.limitPages;
    if (isRoomy && this.#waiting.length === 0) return true;
    return this.#freshPages(first, count) === 0; // what is dirty already takes no room
  }

  /**
   * Resolves when these pages may become dirty, or when waiting can not help: then some will be
   * refused. Answers what was reserved for them, to be given back when they are dirty.
   */
  async enter(first: number, count: number): Promise<number> {
    if (!this.has(first, count)) this.#raiseCeiling();
    if (this.has(first, count)) return this.#reserve(this.#freshPages(first, count));
    this.waitCount++;
    const entered = new Promise<number>((enter) => this.#waiting.push({ first, count, enter }));
    this.#options.kick();
    this.letIn();
    return await entered;
  }

  /** The pages of an `enter` are dirty, or will not be. */
  giveBack(reservedPages: number): void {
    this.#reservedPages -= reservedPages;
    if (this.#waiting.length > 0) this.letIn();
  }

  /** Pages became clean, or can not become so: lets in those who wait, as far as there is room. */
  letIn(): void {
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      if (this.lackingPages > 0) this.#raiseCeiling();
      if (this.lackingPages > 0 && this.#canWait) return;
      this.#waiting.shift();
      next.enter(this.#reserve(this.#freshPages(next.first, next.count)));
    }
  }

  /** A page was refused. If that was not for the limit, memory takes no more than there is now. */
  noteRefused(): void {
    const { table, clock } = this.#options;
    if (table.count >= this.limitPages) return;
    const fallen = Math.max(CEILING_PAGES_MIN, Math.floor(table.count * CEILING_FALL));
    this.#ceiling = Math.min(this.#ceiling, fallen);
    this.#changedAt = clock.now();
  }

  /** So many dirty pages fewer should there be, for a while. */
  reduce(pages: number): void {
    this.reduceTo(Math.max(CEILING_PAGES_MIN, this.#options.table.count - pages));
  }

  /** No more dirty pages than that should there be, for a while, though one there may always be. */
  reduceTo(pages: number): void {
    const { clock, kick } = this.#options;
    this.#ceiling = Math.max(1, Math.min(this.#ceiling, pages));
    this.#changedAt = clock.now();
    kick();
  }

  /** What held the limit down is gone: until memory refuses again it is what was set. */
  restore(): void {
    this.#ceiling = this.#options.table.capacity;
    this.letIn();
  }

  /** Whether room may still appear: from a writer, or from those who were let in. */
  get #canWait(): boolean {
    return this.#reservedPages > 0 || this.#options.canProgress();
  }

  #reserve(pages: number): number {
    this.#reservedPages += pages;
    return pages;
  }

  /** More than the limit can not be waited for. */
  #wanted({ first, count }: Waiting): number {
    return Math.min(this.#freshPages(first, count), this.limitPages);
  }

  /** Pages of the range that are not dirty. */
  #freshPages(first: number, count: number): number {
    const { table } = this.#options;
    if (table.count === 0) return count;
    let fresh = 0;
    for (let page = first; page < first + count; page++) if (!table.has(page)) fresh++;
    return fresh;
  }

  /** Room is short, but memory may take more than it did when it last refused: try a little more. */
  #raiseCeiling(): void {
    const { table, clock } = this.#options;
    if (clock.now() - this.#changedAt < CEILING_CALM_MS) return;
    this.#ceiling = Math.min(table.capacity, Math.ceil(this.#ceiling * CEILING_RISE));
    this.#changedAt = clock.now();
  }
}
