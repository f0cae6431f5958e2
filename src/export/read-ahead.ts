/**
 * Bounded read-ahead for sequential readers. A stream is a reader that continues where it stopped;
 * it earns a window when it misses, and the window doubles while the reader uses it up. Pages that
 * were read ahead and that no stream ever reached are counted as wasted.
 *
 * Source: the design of Linux mm/readahead.c (window doubling, next window at half of the last).
 */

/** Streams followed at a time, for one export; the one unused longest makes room. */
const STREAM_COUNT_MAX = 16;
const WINDOW_BYTES_MIN = 128 * 1024;
const WINDOW_BYTES_MAX = 1024 * 1024;

interface Stream {
  /** The page it will read next, if it goes on. */
  next: number;
  /** The end of what was read ahead for it. */
  aheadEnd: number;
  windowPages: number;
  lastUse: number;
}

/** A range of pages to read ahead; empty when `count` is 0. */
export interface AheadRange {
  first: number;
  count: number;
}

export class ReadAhead {
  /** Pages that streams reached after they had been read ahead, and pages they never reached. */
  usedPages = 0;
  wastedPages = 0;
  readonly #pageCount: number;
  readonly #windowPagesMin: number;
  readonly #windowPagesMax: number;
  readonly #streams: Stream[] = [];
  readonly #range: AheadRange = { first: 0, count: 0 };
  #clock = 0;

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
    if (stream === undefined) {
      // A hit alone starts nothing: random hits would push out the streams that matter.
      if (isMiss) this.#start(end);
      return range;
    }
    stream.lastUse = ++this.#clock;
    this.usedPages += Math.max(0, Math.min(end, stream.aheadEnd) - stream.next);
    stream.next = end;
    if (stream.aheadEnd < end) stream.aheadEnd = end;
    const ahead = stream.aheadEnd - end;
    const isRunningOut = ahead > 0 ? ahead * 2 <= stream.windowPages : isMiss;
    if (!isRunningOut) return range;
    const doubled = stream.windowPages * 2;
    const window = Math.min(this.#windowPagesMax, Math.max(this.#windowPagesMin, doubled));
    stream.windowPages = window;
    range.first = stream.aheadEnd;
    range.count = Math.max(0, Math.min(this.#pageCount, end + window) - range.first);
    stream.aheadEnd = range.first + range.count;
    return range;
  }

  #find(first: number): Stream | undefined {
    // A request that is not aligned begins in the page where the last one ended.
    for (const stream of this.#streams) {
      if (stream.next === first || stream.next === first + 1) return stream;
    }
    return undefined;
  }

  #start(next: number): void {
    const stream = { next, aheadEnd: next, windowPages: 0, lastUse: ++this.#clock };
    if (this.#streams.length < STREAM_COUNT_MAX) {
      this.#streams.push(stream);
      return;
    }
    let oldest = 0;
    for (let i = 1; i < this.#streams.length; i++) {
      if (this.#streams[i]!.lastUse < this.#streams[oldest]!.lastUse) oldest = i;
    }
    const gone = this.#streams[oldest]!;
    this.wastedPages += Math.max(0, gone.aheadEnd - gone.next);
    this.#streams[oldest] = stream;
  }
}
