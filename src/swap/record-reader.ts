/**
 * Reading pages back: from metadata, from a segment that is still in memory, or from the file. A
 * record that is not exactly the one that was written is an error, never a page.
 */

import type { PageEncoder } from '../layers/page-encoder.ts';
import { TmemError } from '../lib/errors.ts';
import { LZ4 } from '../tmem/layer.ts';
import { BLOCK_BYTES } from './appender.ts';
import { READ_BYTES, READ_PAGES_MAX, type ReadSlot } from './read-slots.ts';
import { RECORD_HEADER_BYTES } from './record.ts';
import type { RecordStore } from './record-store.ts';

export class RecordReader {
  readonly #store: RecordStore;
  readonly #encoder: PageEncoder;

  constructor(store: RecordStore, encoder: PageEncoder) {
    this.#store = store;
    this.#encoder = encoder;
  }

  /** Reads the page to `dst[at]`; false, and `dst` untouched, if that takes the file. */
  readNow(page: number, dst: Buffer, at: number): boolean {
    const { map, geometry, table } = this.#store;
    if (map.isHole(page)) {
      dst.fill(0, at, at + geometry.pageBytes);
      return true;
    }
    const location = map.location(page);
    if (map.isFilled(page)) {
      this.#encoder.fill(location, geometry.pageBytes, dst, at);
      return true;
    }
    const segment = this.#store.segmentOf(location);
    const bytes = this.#store.bytesOf(segment);
    if (bytes === undefined) return false;
    const from = this.#store.offsetInSegment(location);
    const sequence = table.sequence(segment);
    this.#decode(bytes, from, map.span(page), location, sequence, page, dst, at);
    return true;
  }

  /**
   * Notes in `slot` the records of pages from `page` on, before `end`, that lie one behind the other
   * in the file. Answers how many: 0 if the first is not in the file.
   */
  plan(slot: ReadSlot, page: number, end: number): number {
    const { map, geometry } = this.#store;
    slot.count = 0;
    if (!map.hasRecord(page)) return 0;
    slot.location = map.location(page);
    const segment = this.#store.segmentOf(slot.location);
    if (this.#store.bytesOf(segment) !== undefined) return 0;
    let location = slot.location;
    let next = page;
    do {
      const span = map.span(next);
      const bytes = (location - slot.location + span) * geometry.granuleBytes;
      if (slot.count > 0 && bytes > READ_BYTES) break;
      slot.spans[slot.count++] = span;
      location += span;
      next++;
    } while (next < end && slot.count < READ_PAGES_MAX && map.isAt(next, location));
    return slot.count;
  }

  /** Reads what was just planned, of which `page` is the first, to `dst` from `at` on. */
  async load(slot: ReadSlot, page: number, dst: Buffer, at: number): Promise<void> {
    const { table, geometry, medium } = this.#store;
    const segment = this.#store.segmentOf(slot.location);
    const sequence = table.sequence(segment);
    let spans = 0;
    for (let index = 0; index < slot.count; index++) spans += slot.spans[index]!;
    const start = this.#store.offsetInSegment(slot.location);
    // Whole blocks, so that the page cache is not needed for it.
    const from = Math.floor(start / BLOCK_BYTES) * BLOCK_BYTES;
    const to = Math.ceil((start + spans * geometry.granuleBytes) / BLOCK_BYTES) * BLOCK_BYTES;
    table.beginRead(segment);
    try {
      await medium.read(slot.bytes, 0, to - from, this.#store.fileOffset(segment) + from);
    } finally {
      table.endRead(segment);
    }
    let { location } = slot;
    for (let index = 0; index < slot.count; index++) {
      const span = slot.spans[index]!;
      const record = this.#store.offsetInSegment(location) - from;
      const to = at + index * geometry.pageBytes;
      this.#decode(slot.bytes, record, span, location, sequence, page + index, dst, to);
      location += span;
    }
  }

  #decode(
    src: Buffer,
    at: number,
    span: number,
    location: number,
    sequence: number,
    page: number,
    dst: Buffer,
    dstOffset: number,
  ): void {
    const { format, geometry } = this.#store;
    const { pageBytes, granuleBytes } = geometry;
    if (format.isRecord(src, at, span * granuleBytes, location, sequence, page)) {
      const start = at + RECORD_HEADER_BYTES;
      const end = start + format.encodedLength(src, at);
      if (format.encoding(src, at) === LZ4) {
        if (this.#encoder.decode(src, start, end, pageBytes, dst, dstOffset)) return;
      } else {
        src.copy(dst, dstOffset, start, end);
        return;
      }
    }
    this.#store.statistics.checksumFailures++;
    throw this.#damaged(page);
  }

  #damaged(page: number): TmemError {
    const { medium, geometry } = this.#store;
    const offset = page * geometry.pageBytes;
    return new TmemError(
      'io',
      `the page at offset ${offset} is damaged in the overflow file "${medium.name}"; ` +
        'check the disk that it is on, and write or discard the page',
      { context: { file: medium.name, offset } },
    );
  }
}
