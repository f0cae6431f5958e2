/** Ranges of bytes as what pages have of them. */

/** What is done with the parts of a range; each is awaited before the next. */
export interface PartVisitor {
  /** Whole pages, of which the first one's bytes are at `at` in the buffer. */
  pages(first: number, count: number, at: number): Promise<void>;
  /** `count` bytes of a page, from its byte `from` on: never all. */
  part(page: number, from: number, count: number, at: number): Promise<void>;
}

/** Visits the whole pages of a range as one run, and the parts of pages at its ends, in order. */
export async function eachPart(
  pageBytes: number,
  offset: number,
  length: number,
  bufferOffset: number,
  visitor: PartVisitor,
): Promise<void> {
  for (let done = 0; done < length; ) {
    const page = Math.floor((offset + done) / pageBytes);
    const from = (offset + done) % pageBytes;
    const wholePages = from === 0 ? Math.floor((length - done) / pageBytes) : 0;
    const at = bufferOffset + done;
    if (wholePages > 0) {
      await visitor.pages(page, wholePages, at);
      done += wholePages * pageBytes;
    } else {
      const count = Math.min(pageBytes - from, length - done);
      await visitor.part(page, from, count, at);
      done += count;
    }
  }
}
