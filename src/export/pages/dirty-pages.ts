/**
 * Which pages of an export its image does not have yet, and in what order they should get there.
 * Only names and numbers are kept here, in typed arrays; the bytes are in the frontswap tier.
 *
 * Every write of a page takes a new version, from one clock. An entry knows its newest version and
 * the oldest that the image does not have, which is what a FLUSH waits for: one number for what is
 * under way, one for what was written since. No page is under way twice at a time: one that is
 * written again meanwhile waits for the end of that. Entries are in two queues: by age, for what
 * must go in time, and by last use, for what goes first when room is needed.
 */

import { SlotQueue } from '../../policy/parts/slot-queue.ts';
import { NO_SLOT, PageIndex } from '../../tmem/page-index.ts';

/** A run of pages that shares a table: large, since each takes memory however few pages it has. */
const PAGES_PER_OBJECT = 2 ** 18;
const OBJECT_BYTES = 512;
const POOL = 1;

// Bits of an entry's state.
/** In the two queues: a writer may take it. */
const QUEUED = 1;
/** Its bytes are on their way to the image. */
const WRITING = 2;
/** Its bytes did not survive in memory: whoever reads it must hear of an error. */
const LOST = 4;
/** The image refused it: it waits for another try, in the queue of those alone. */
const FAILED = 8;
/** The image refused it and it waits for a writer again, before those that only are old. */
const RETRIED = 16;
/** The image refused it, and does not have it to this day. */
const TROUBLED = 32;

/** No version: the image has all of them, or nobody waits for the one that it has not. */
const NONE = Number.POSITIVE_INFINITY;

/** Bytes that one dirty page takes in this table, at most. */
export const DIRTY_PAGE_METADATA_BYTES = 72;

/** What the tables for a disk of that many pages may take besides, bytes. */
export function dirtyObjectBytes(pageCount: number): number {
  return Math.ceil(pageCount / PAGES_PER_OBJECT) * OBJECT_BYTES;
}

export class DirtyPages {
  /** Entries that this table can hold. */
  readonly capacity: number;
  /** Grows with every write of a page. */
  version = 0;
  /** Entries that the barrier still waits for; see `beginBarrier`. */
  owedCount = 0;
  /** Entries that the image refused and still does not have, tried again or not. */
  troubledCount = 0;
  lostCount = 0;
  /** Pages that were lost since the start, those too that were written again. */
  lossCount = 0;

  readonly #index: PageIndex;
  readonly #states: Uint8Array;
  readonly #versions: Float64Array;
  /** By slot: the oldest version that the image does not have and that is not under way. */
  readonly #firstVersions: Float64Array;
  /** By slot: the oldest version that is under way. */
  readonly #firstWriting: Float64Array;
  readonly #dirtySince: Float64Array;
  readonly #byAge: SlotQueue;
  readonly #byUse: SlotQueue;
  readonly #failed: SlotQueue;
  readonly #retried: SlotQueue;
  readonly #writing: SlotQueue;
  #barrier = -1;

  /** Room for `capacity` pages; memory is mapped as it is touched. */
  constructor(capacity: number) {
    this.capacity = capacity;
    this.#index = new PageIndex(capacity);
    this.#index.createPool(POOL);
    this.#states = new Uint8Array(capacity);
    this.#versions = new Float64Array(capacity);
    this.#firstVersions = new Float64Array(capacity);
    this.#firstWriting = new Float64Array(capacity);
    this.#dirtySince = new Float64Array(capacity);
    const ageLinks = new Int32Array(2 * capacity);
    this.#byAge = new SlotQueue(ageLinks);
    this.#failed = new SlotQueue(ageLinks);
    this.#retried = new SlotQueue(ageLinks);
    this.#writing = new SlotQueue(ageLinks);
    this.#byUse = new SlotQueue(new Int32Array(2 * capacity));
  }

  /** Dirty pages, those being written and those that failed included. */
  get count(): number {
    return this.#index.count;
  }

  /** Pages that wait for a writer. */
  get queuedCount(): number {
    return this.#byUse.count;
  }

  /** Entries that the image refused and that are not tried again yet. */
  get failedCount(): number {
    return this.#failed.count;
  }

  /** Pages that are on their way to the image. */
  get writingCount(): number {
    return this.#writing.count;
  }

  /** Bytes of this table in use. */
  get metadataBytes(): number {
    return this.#index.metadataBytes + this.#index.slotsTouched * (1 + 32 + 16);
  }

  /** The entry of the page, or NO_SLOT. */
  find(page: number): number {
    if (this.#index.count === 0) return NO_SLOT;
    return this.#index.find(POOL, Math.floor(page / PAGES_PER_OBJECT), page % PAGES_PER_OBJECT);
  }

  has(page: number): boolean {
    return this.find(page) !== NO_SLOT;
  }

  pageOf(slot: number): number {
    return this.#index.objectOf(slot) * PAGES_PER_OBJECT + this.#index.indexOf(slot);
  }

  /** Entries lie below this number; each stays where it is. */
  get slotCount(): number {
    return this.#index.slotsTouched;
  }

  /** The page of the entry that lies there, or -1 for none. */
  pageIn(slot: number): number {
    return this.#states[slot] === 0 ? -1 : this.pageOf(slot);
  }

  /** The version that the page has now. */
  versionOf(slot: number): number {
    return this.#versions[slot]!;
  }

  isLost(slot: number): boolean {
    return (this.#states[slot]! & LOST) !== 0;
  }

  /** Whether a writer may take the entry now. */
  isQueued(slot: number): boolean {
    return (this.#states[slot]! & QUEUED) !== 0;
  }

  /** Whether the image refused the entry, and it may be tried again now. */
  isRetried(slot: number): boolean {
    return (this.#states[slot]! & RETRIED) !== 0;
  }

  /** Whether the barrier waits for the entry. */
  isOwed(slot: number): boolean {
    return (
      this.#firstVersions[slot]! <= this.#barrier || this.#firstWriting[slot]! <= this.#barrier
    );
  }

  /** The page was written at `now`, in milliseconds. The caller has seen to room for new ones. */
  mark(page: number, now: number): void {
    const version = ++this.version;
    let slot = this.find(page);
    if (slot === NO_SLOT) slot = this.#insert(page);
    this.#set(slot, LOST, false);
    this.#versions[slot] = version;
    const state = this.#states[slot]!;
    if ((state & QUEUED) !== 0) {
      this.#byUse.remove(slot, 0);
      this.#byUse.push(slot, 0);
      return;
    }
    if ((state & FAILED) !== 0) return; // it waits for its next try as it is, and is that old
    if (this.#firstVersions[slot] === NONE) {
      this.#firstVersions[slot] = version;
      this.#dirtySince[slot] = now;
    }
    if ((state & WRITING) === 0) this.#enqueue(slot);
  }

  /** The page need not be written any more. It must not be under way. */
  drop(page: number): void {
    const slot = this.find(page);
    if (slot === NO_SLOT) return;
    if ((this.#states[slot]! & WRITING) !== 0) throw new Error('dirty pages: dropped in flight');
    this.#disown(slot);
    this.#remove(slot);
  }

  /** The bytes of the page are gone. It stays, to be an error to whoever reads or flushes it. */
  markLost(slot: number): void {
    if (this.isLost(slot)) return;
    this.#dequeue(slot);
    this.#disown(slot);
    this.#set(slot, TROUBLED, false);
    this.#set(slot, LOST, true);
    this.lossCount++;
  }

  /** The entry that should go first, of those that may be taken, or NO_SLOT. */
  get oldest(): number {
    return this.#retried.count > 0 ? this.#retried.tail : this.#byAge.tail;
  }

  /** The entry that was written longest ago and may be taken, or NO_SLOT. */
  get coldest(): number {
    return this.#byUse.tail;
  }

  /** The entry that follows in the order of `oldest`, or NO_SLOT. */
  nextOldest(slot: number): number {
    if (!this.isRetried(slot)) return this.#byAge.newerThan(slot);
    const next = this.#retried.newerThan(slot);
    return next === NO_SLOT ? this.#byAge.tail : next;
  }

  /** The entry that follows in the order of `coldest`, or NO_SLOT. */
  nextColdest(slot: number): number {
    return this.#byUse.newerThan(slot);
  }

  /** Since when the entry has been dirty, milliseconds. */
  dirtySince(slot: number): number {
    return this.#dirtySince[slot]!;
  }

  /** Since when the page that has been dirty for longest has been, wherever it is; Infinity for none. */
  get oldestSince(): number {
    const oldest = this.#byAge.tail;
    let since = oldest === NO_SLOT ? Number.POSITIVE_INFINITY : this.dirtySince(oldest);
    // The others are in no order. Few are being written; those that the image refused may be many.
    for (const queue of [this.#writing, this.#failed, this.#retried]) {
      for (let slot = queue.tail; slot !== NO_SLOT; slot = queue.newerThan(slot)) {
        since = Math.min(since, this.dirtySince(slot));
      }
    }
    return since;
  }

  /** A writer takes the entry, which must be queued. */
  beginWrite(slot: number): void {
    if (!this.isQueued(slot)) throw new Error('dirty pages: not there to be taken');
    this.#dequeue(slot);
    this.#states[slot]! |= WRITING;
    this.#writing.push(slot, 0);
    this.#firstWriting[slot] = this.#firstVersions[slot]!;
    this.#firstVersions[slot] = NONE;
  }

  /**
   * The image has the page as it was at `version`. Answers whether the page is clean now; it is not
   * when it was written again meanwhile.
   */
  endWrite(slot: number, version: number): boolean {
    this.#endWriting(slot);
    if (this.#versions[slot] === version) {
      this.#remove(slot);
      return true;
    }
    this.#set(slot, TROUBLED, false);
    if (!this.isLost(slot)) this.#enqueue(slot);
    return false;
  }

  /** The image did not take the page: it stays until `retry`, and no barrier waits for it. */
  failWrite(slot: number): void {
    this.#endWriting(slot);
    if (this.isLost(slot)) return;
    this.#disown(slot);
    this.#set(slot, TROUBLED, true);
    this.#states[slot]! |= FAILED;
    this.#failed.push(slot, 0);
  }

  /** Those that failed may be taken again. */
  retry(): void {
    for (let slot = this.#failed.tail; slot !== NO_SLOT; slot = this.#failed.tail) {
      this.#dequeue(slot);
      this.#firstVersions[slot] = ++this.version; // newer than any barrier, which may be waited for
      this.#states[slot]! |= QUEUED | RETRIED;
      this.#retried.push(slot, 0);
      this.#byUse.push(slot, 0);
    }
  }

  /**
   * From now on `owedCount` counts down the pages that are dirty at this moment. One that fails or
   * is lost counts as settled: whoever waits must ask for that.
   */
  beginBarrier(): void {
    this.#barrier = this.version;
    this.owedCount = this.count - this.failedCount - this.lostCount;
  }

  #insert(page: number): number {
    const object = Math.floor(page / PAGES_PER_OBJECT);
    const slot = this.#index.insert(POOL, object, page % PAGES_PER_OBJECT);
    if (slot === NO_SLOT) throw new Error('dirty pages: the table is full');
    this.#states[slot] = 0;
    this.#firstVersions[slot] = NONE;
    this.#firstWriting[slot] = NONE;
    return slot;
  }

  /** Nobody waits for the entry any more. */
  #disown(slot: number): void {
    if (this.isOwed(slot)) this.owedCount--;
    this.#firstVersions[slot] = NONE;
    this.#firstWriting[slot] = NONE;
  }

  #enqueue(slot: number): void {
    this.#states[slot]! |= QUEUED;
    this.#byAge.push(slot, 0);
    this.#byUse.push(slot, 0);
  }

  #dequeue(slot: number): void {
    const state = this.#states[slot]!;
    if ((state & QUEUED) !== 0) {
      ((state & RETRIED) !== 0 ? this.#retried : this.#byAge).remove(slot, 0);
      this.#byUse.remove(slot, 0);
    }
    if ((state & FAILED) !== 0) this.#failed.remove(slot, 0);
    this.#states[slot] = state & ~(QUEUED | FAILED | RETRIED);
  }

  #endWriting(slot: number): void {
    const wasOwed = this.isOwed(slot);
    this.#firstWriting[slot] = NONE;
    if (wasOwed && !this.isOwed(slot)) this.owedCount--;
    this.#states[slot]! &= ~WRITING;
    this.#writing.remove(slot, 0);
  }

  /** Sets a bit that entries are counted by. */
  #set(slot: number, bit: typeof LOST | typeof TROUBLED, isSet: boolean): void {
    const state = this.#states[slot]!;
    if (((state & bit) !== 0) === isSet) return;
    const change = isSet ? 1 : -1;
    if (bit === LOST) this.lostCount += change;
    else this.troubledCount += change;
    this.#states[slot] = state ^ bit;
  }

  #remove(slot: number): void {
    this.#dequeue(slot);
    this.#set(slot, LOST, false);
    this.#set(slot, TROUBLED, false);
    this.#states[slot] = 0;
    this.#index.remove(slot);
  }
}
