import { describe, expect, it } from 'vitest';
import {
  PAGE_DAMAGED,
  PAGE_FOUND,
  SEGMENT_BYTES,
  SEGMENT_END,
  SegmentReader,
  SegmentWriter,
} from '../../src/snapshot/segment.ts';
import { type EncodedPage, LZ4, RAW } from '../../src/tmem/layer.ts';

const PAGE = 4096;
const ID = Buffer.from('12345678');

/** A segment full of blocks of that length, numbered from 2^33. */
function fullSegment(length: number, number = 3): SegmentWriter {
  const writer = new SegmentWriter(Buffer.alloc(SEGMENT_BYTES, 0xee), ID);
  writer.begin(number);
  const page: EncodedPage = { encoding: LZ4, buffer: Buffer.alloc(length), offset: 0, length };
  for (let i = 0; ; i++) {
    page.buffer.fill(`block ${i} `);
    if (!writer.add(i % 5, 2 ** 33 + i, page)) break;
  }
  writer.finish();
  return writer;
}

function readerOf(bytes: Buffer, number = 3, id = ID, length = SEGMENT_BYTES): SegmentReader {
  const reader = new SegmentReader(Buffer.from(bytes), id, PAGE);
  reader.open(number, length);
  return reader;
}

/** What `next` answers until the end. */
function all(reader: SegmentReader): number[] {
  const found: number[] = [];
  for (let what = reader.next(); what !== SEGMENT_END; what = reader.next()) found.push(what);
  return found;
}

describe('a segment', () => {
  it('gives back every page with its name, in order', () => {
    const writer = fullSegment(1000);
    const reader = readerOf(writer.buffer);
    for (let i = 0; i < writer.count; i++) {
      expect(reader.next()).toBe(PAGE_FOUND);
      expect([reader.image, reader.page]).toEqual([i % 5, 2 ** 33 + i]);
      const { encoding, buffer, offset, length } = reader.encoded;
      expect([encoding, length]).toEqual([LZ4, 1000]);
      expect(buffer.toString('latin1', offset, offset + 8)).toBe(
        `block ${i} `.repeat(2).slice(0, 8),
      );
    }
    expect(reader.next()).toBe(SEGMENT_END);
    expect(writer.count).toBe(Math.floor((SEGMENT_BYTES - 32) / 1024));
  });

  it('has room for pages of 64 KiB', () => {
    const writer = new SegmentWriter(Buffer.alloc(SEGMENT_BYTES), ID);
    const page = {
      encoding: RAW,
      buffer: Buffer.alloc(65536, 1),
      offset: 0,
      length: 65536,
    } as const;
    while (writer.add(0, writer.count, page)) {}
    expect(writer.count).toBe(15);
  });

  it('gives back what it took, however full it is', () => {
    for (let length = 960; length < 1000; length++) {
      const writer = fullSegment(length);
      const found = all(readerOf(writer.buffer));
      expect(found).toEqual(Array(writer.count).fill(PAGE_FOUND));
      const reader = readerOf(writer.buffer);
      for (let i = 0; i < writer.count; i++) reader.next();
      const { buffer, offset } = reader.encoded;
      const expected = Buffer.alloc(length).fill(`block ${writer.count - 1} `);
      expect(buffer.subarray(offset, offset + length).equals(expected)).toBe(true);
    }
  });

  it('of another snapshot, or at the place of another segment, gives nothing', () => {
    const { buffer } = fullSegment(1000);
    expect(all(readerOf(buffer, 4))).not.toContain(PAGE_FOUND);
    expect(all(readerOf(buffer, 3, Buffer.from('12345679')))).not.toContain(PAGE_FOUND);
  });

  it('whose header is gone ends where its pages begin', () => {
    const writer = fullSegment(1000);
    writer.buffer.fill(0, 0, 32);
    const reader = readerOf(writer.buffer);
    expect(all(reader).filter((what) => what === PAGE_FOUND).length).toBe(writer.count);
    expect(reader.isCountKnown).toBe(false);
    const again = all(readerOf(writer.buffer));
    // A gap shorter than a page may look like entries; nothing more.
    expect(again.filter((what) => what === PAGE_DAMAGED).length).toBeLessThan(1024 / 24);
  });

  it('forgets what was in its buffer before', () => {
    const { buffer } = fullSegment(1000);
    const writer = new SegmentWriter(buffer, ID);
    writer.begin(3);
    writer.finish();
    expect(all(readerOf(buffer))).toEqual([]);
    expect(buffer.every((byte, i) => i < 32 || byte === 0)).toBe(true);
  });

  it('of no bytes at all has no pages', () => {
    expect(all(readerOf(fullSegment(1000).buffer, 3, ID, 0))).toEqual([]);
    expect(all(readerOf(fullSegment(1000).buffer, 3, ID, 40))).toEqual([]);
  });
});
