/**
 * Bounded read-ahead for sequential readers. A stream is a reader that continues where it stopped;
 * it earns a window when it misses, and the window doubles while the reader uses it up. Pages that
 * had to be read for a window count as used when the stream comes to them, and as wasted when it is
 * forgotten before it does. That reading is no further use of them: it is the one that they were
 * read for, and a scan must not pass for pages that are asked for again and again.
 *
 * Source: the design of Linux mm/readahead.c (window doubling, next window at half of the last).
 */

/** Streams followed at a time, for one export; the one unused longest makes room. */
const STREAM_COUNT_MAX = 16;
const WINDOW_BYTES_MIN = 128 * 1024;
const WINDOW_BYTES_MAX = 1024 * 1024;
/** The number of no page. */
const NO_PAGE = -1;

interface Stream {
  /** The page it will read next, if it goes on. */
  next: number;
  /** The end of what was read ahead for it. */
  aheadEnd: number;
  /** Pages between `next` and `aheadEnd` that were not cached before. */
  pendingPages: number;
  windowPages: number;
  lastUse: number;
}

/** A range of pages to read ahead; empty when `count` is 0. */
export interface AheadRange {
  first: number;
  count: number;
}

export class ReadAhead {
  /** Pages read ahead that a stream came to, and those that none did. */
  usedPages = 0;
  wastedPages = 0;
  readonly #pageCount: number;
  readonly #windowPagesMin: number;
  readonly #windowPagesMax: number;
  readonly #streams: Stream[] = [];
  readonly #range: AheadRange = { first: 0, count: 0 };
  #earner: Stream | undefined; // for whom the last answer was
  #clock = 0;
  /** What the last search found: a read asks what is ahead of it before it is noted. */
  #found: Stream | undefined;
  #foundFor = NO_PAGE;

  /** For an export of `pageCount` pages. */
  constructor(pageCount: number, pageBytes: number) {
    this.#pageCount = pageCount;
    this.#windowPagesMin = WINDOW_BYTES_MIN / pageBytes;
    this.#windowPagesMax = WINDOW_BYTES_MAX / pageBytes;
  }

  /**
   * Hears of a read of `[first, end)` and whether it missed; answers what to read ahead now. The
   * answer is valid until the next call.
   */
  note(first: number, end: number, isMiss: boolean): AheadRange {
    const range = this.#range;
    range.count = 0;
    const stream = this.#find(first);
    this.#foundFor = NO_PAGE; // what follows moves streams
    if (stream === undefined) {
      // A hit alone starts nothing: random hits would push out the streams that matter.
      if (isMiss) this.#start(end);
      return range;
    }
    stream.lastUse = ++this.#clock;
    if (end <= stream.next) return range; // the same page again, which is no progress
    const hadAhead = stream.aheadEnd > stream.next;
    stream.next = end;
    if (stream.aheadEnd < end) stream.aheadEnd = end;
    const ahead = stream.aheadEnd - end;
    const used = Math.max(0, stream.pendingPages - ahead);
    stream.pendingPages -= used;
    this.usedPages += used;
    const isRunningOut = ahead > 0 ? ahead * 2 <= stream.windowPages : isMiss || hadAhead;
    if (!isRunningOut) return range;
    const doubled = stream.windowPages * 2;
    const window = Math.min(this.#windowPagesMax, Math.max(this.#windowPagesMin, doubled));
    stream.windowPages = window;
    range.first = stream.aheadEnd;
    range.count = Math.max(0, Math.min(this.#pageCount, end + window) - range.first);
    this.#earner = stream;
    return range;
  }

  /** The end of what was read ahead for a read that begins at `first` now; 0 where nothing was. */
  aheadEndOf(first: number): number {
    const stream = this.#find(first);
    return stream === undefined || stream.aheadEnd <= stream.next ? 0 : stream.aheadEnd;
  }

  /** Hears that the last answer is carried out up to `end`, with `pages` that were not cached. */
  begun(end: number, pages: number): void {
    if (this.#earner === undefined) return;
    this.#earner.aheadEnd = end;
    this.#earner.pendingPages += pages;
  }

  #find(first: number): Stream | undefined {
    if (first === this.#foundFor) return this.#found;
    this.#foundFor = first;
    this.#found = undefined;
    for (const stream of this.#streams) {
      // A request that is not aligned begins in the page where the last one ended.
      if (stream.next !== first && stream.next !== first + 1) continue;
      this.#found = stream;
      break;
    }
    return this.#found;
  }

  #start(next: number): void {
    const stream = {
      next,
      aheadEnd: next,
      pendingPages: 0,
      windowPages: 0,
      lastUse: ++this.#clock,
    };
    if (this.#streams.length < STREAM_COUNT_MAX) {
      this.#streams.push(stream);
      return;
    }
    let oldest = 0;
    for (let i = 1; i < this.#streams.length; i++) {
      if (this.#streams[i]!.lastUse < this.#streams[oldest]!.lastUse) oldest = i;
    }
    const gone = this.#streams[oldest]!;
    this.wastedPages += gone.pendingPages;
    this.#streams[oldest] = stream;
  }
}
