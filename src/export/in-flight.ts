/**
 * What is under way between an export and its image: the reads that fill the cache, and the ranges
 * being changed. It keeps the cache coherent by one rule: a page that was read while it was being
 * changed is never cached, and never shared with a reader who asks after the change was answered.
 *
 * There are never more than requests in flight, so the lists are searched from end to end.
 */

import { NumberTable } from '../lib/number-table.ts';

/** A page's bytes wanted by somebody else than the one who reads them. */
interface Joiner {
  readonly page: number;
  readonly dst: Buffer;
  readonly dstOffset: number;
  readonly settle: (isCopied: boolean) => void;
}

/** A read of consecutive pages from the image. */
export class Fetch {
  readonly first: number;
  readonly count: number;
  readonly buffer: Buffer;
  readonly offset: number;
  /** A change of one of its pages began before it ended: what it read must not be cached. */
  isStale = false;
  /** Among those that others may join, from 1 on; 0 if they may not. */
  number = 0;
  readonly joiners: Joiner[] = [];

  constructor(first: number, count: number, buffer: Buffer, offset: number) {
    this.first = first;
    this.count = count;
    this.buffer = buffer;
    this.offset = offset;
  }
}

/** A range of pages that is being written, zeroed or trimmed. */
export interface Change {
  readonly first: number;
  readonly count: number;
  /** Another change overlapped it in time: which came last on the medium is not known. */
  isContended: boolean;
}

export class InFlight {
  /** Hears of every change of pages, before it begins or in the turn in which it is made. */
  onChange: ((first: number, count: number) => void) | undefined;
  readonly #pageBytes: number;
  /** By page: the number of its fetch. Stale ones are not in it. */
  readonly #numbers = new NumberTable();
  /** By number; those that are free are undefined. */
  readonly #fetches: (Fetch | undefined)[] = [undefined];
  readonly #freeNumbers: number[] = [];
  readonly #running = new Set<Fetch>();
  readonly #changes = new Set<Change>();

  constructor(pageBytes: number) {
    this.#pageBytes = pageBytes;
  }

  /** Reads of the image under way. */
  get fetchCount(): number {
    return this.#running.size;
  }

  /** Pages changed without the image: whoever reads them from it now must not cache what it gets. */
  touch(first: number, count: number): void {
    this.onChange?.(first, count);
    if (this.#running.size === 0) return;
    for (const fetch of this.#running) {
      if (fetch.isStale || !overlaps(fetch, { first, count })) continue;
      fetch.isStale = true;
      this.#forget(fetch);
    }
  }

  /** The read under way that will bring `page`, if a reader may share it. */
  fetchOf(page: number): Fetch | undefined {
    return this.#fetches[this.#numbers.get(page)];
  }

  beginFetch(fetch: Fetch): void {
    this.#running.add(fetch);
    for (const change of this.#changes) if (overlaps(change, fetch)) fetch.isStale = true;
    if (fetch.isStale) return;
    fetch.number = this.#freeNumbers.pop() ?? this.#fetches.length;
    this.#fetches[fetch.number] = fetch;
    for (let i = 0; i < fetch.count; i++) this.#numbers.set(fetch.first + i, fetch.number);
  }

  /** Ends a fetch. Those who joined get their page, or hear that they must read it themselves. */
  endFetch(fetch: Fetch, isRead: boolean): void {
    this.#running.delete(fetch);
    this.#forget(fetch);
    for (const { page, dst, dstOffset, settle } of fetch.joiners) {
      if (isRead) {
        const from = fetch.offset + (page - fetch.first) * this.#pageBytes;
        fetch.buffer.copy(dst, dstOffset, from, from + this.#pageBytes);
      }
      settle(isRead);
    }
  }

  /** Has `page` copied to `dst[dstOffset]` when the fetch ends; false when it failed. */
  join(fetch: Fetch, page: number, dst: Buffer, dstOffset: number): Promise<boolean> {
    return new Promise((settle) => fetch.joiners.push({ page, dst, dstOffset, settle }));
  }

  /** Every fetch of these pages under way becomes stale; every change of them contended. */
  beginChange(first: number, count: number): Change {
    const change: Change = { first, count, isContended: false };
    for (const other of this.#changes) {
      if (!overlaps(other, change)) continue;
      other.isContended = true;
      change.isContended = true;
    }
    this.touch(first, count);
    this.#changes.add(change);
    return change;
  }

  endChange(change: Change): void {
    this.#changes.delete(change);
  }

  #forget(fetch: Fetch): void {
    if (fetch.number === 0) return;
    for (let page = fetch.first; page < fetch.first + fetch.count; page++) {
      if (this.#numbers.get(page) === fetch.number) this.#numbers.delete(page);
    }
    this.#fetches[fetch.number] = undefined;
    this.#freeNumbers.push(fetch.number);
    fetch.number = 0;
  }
}

interface PageRange {
  readonly first: number;
  readonly count: number;
}

function overlaps(a: PageRange, b: PageRange): boolean {
  return a.first < b.first + b.count && b.first < a.first + a.count;
}
