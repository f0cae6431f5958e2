/**
 * Pages in a snapshot lie in segments of one size. Behind a segment's header a table of entries grows
 * upwards, one for each page; the encoded pages themselves grow downwards from the segment's end. An
 * entry lies where its number says and tells where its page lies, and has a checksum over itself and
 * the page: so what is damaged costs the pages it belongs to, and never the way to the next one.
 *
 * The checksums begin with the random id of the snapshot and the number of the segment. What another
 * snapshot left on the disk does not pass for a page, nor does what a guest wrote inside a page.
 *
 * Header: magic, number, entries, checksum; zeros. Entry: checksum, place, encoding and length, image,
 * page (64 bits). All numbers are little-endian.
 */

import { crc32 } from 'node:zlib';
import { readUInt64LE, writeUInt64LE } from '../lib/uint64.ts';
import { type EncodedPage, type Encoding, FILLED, LZ4, RAW } from '../tmem/layer.ts';

/** Bytes of every segment. */
export const SEGMENT_BYTES = 1024 * 1024;
/** Bytes of a snapshot's random id. */
export const ID_BYTES = 8;

const MAGIC = Buffer.from('tmemseg1', 'latin1');
const HEADER_BYTES = 32;
const ENTRY_BYTES = 24;
const CHECKSUM_AT = 16; // in the header
const FILLED_BYTES = 4;

/** Fills segments. */
export class SegmentWriter {
  /** A whole segment, ready to be written after `finish`. */
  readonly buffer: Buffer;
  /** Pages in the segment. */
  count = 0;
  readonly #id: Buffer;
  #number = 0;
  #seed = 0;
  #pagesAt = 0;

  /** Fills `buffer`, of SEGMENT_BYTES, which is the writer's from then on. */
  constructor(buffer: Buffer, id: Buffer) {
    this.buffer = buffer;
    this.#id = id;
    this.begin(0);
  }

  /** Begins the segment of that number; the last one is forgotten. */
  begin(number: number): void {
    this.#number = number;
    this.#seed = seedOf(this.#id, number);
    this.#pagesAt = this.buffer.length;
    this.count = 0;
  }

  /** Adds a page; false when it has no room, and then this changes nothing. */
  add(image: number, page: number, encoded: EncodedPage): boolean {
    const { buffer, offset, length, encoding } = encoded;
    const entryAt = HEADER_BYTES + this.count * ENTRY_BYTES;
    const at = this.#pagesAt - length;
    if (entryAt + ENTRY_BYTES > at) return false;
    const segment = this.buffer;
    buffer.copy(segment, at, offset, offset + length);
    segment.writeUInt32LE(at, entryAt + 4);
    segment.writeUInt32LE(encoding * 2 ** 24 + length, entryAt + 8);
    segment.writeUInt32LE(image, entryAt + 12);
    writeUInt64LE(segment, page, entryAt + 16);
    segment.writeUInt32LE(checksumOf(segment, entryAt, at, length, this.#seed), entryAt);
    this.#pagesAt = at;
    this.count++;
    return true;
  }

  /** Completes the segment. */
  finish(): void {
    const segment = this.buffer;
    segment.fill(0, HEADER_BYTES + this.count * ENTRY_BYTES, this.#pagesAt);
    segment.fill(0, 0, HEADER_BYTES);
    MAGIC.copy(segment);
    segment.writeUInt32LE(this.#number, 8);
    segment.writeUInt32LE(this.count, 12);
    segment.writeUInt32LE(crc32(segment.subarray(0, CHECKSUM_AT), this.#seed), CHECKSUM_AT);
  }
}

/** `next` found a page: its fields are set. */
export const PAGE_FOUND = 1;
/** `next` came past an entry that is damaged, or whose page is. */
export const PAGE_DAMAGED = 2;
/** There are no more entries. */
export const SEGMENT_END = 3;

/** Reads segments, whatever may have happened to them. */
export class SegmentReader {
  /** Room for a segment: read one into it, then `open` it. */
  readonly buffer: Buffer;
  /** Of the page that was found; its bytes lie in `buffer`. */
  image = 0;
  page = 0;
  readonly encoded: EncodedPage;
  readonly #id: Buffer;
  readonly #pageBytes: number;
  #seed = 0;
  #length = 0;
  #entryAt = 0;
  /** The table of entries ends here at the latest. */
  #tableEnd = 0;
  #isDeclared = false;

  /** Reads pages of `pageBytes` from `buffer`, of SEGMENT_BYTES. */
  constructor(buffer: Buffer, id: Buffer, pageBytes: number) {
    this.buffer = buffer;
    this.#id = id;
    this.#pageBytes = pageBytes;
    this.encoded = { encoding: RAW, buffer, offset: 0, length: 0 };
  }

  /** Whether the segment's header tells how many entries there are. */
  get isCountKnown(): boolean {
    return this.#isDeclared;
  }

  /** Begins with the segment of that number, of which `length` bytes are in `buffer`. */
  open(number: number, length: number): void {
    this.#seed = seedOf(this.#id, number);
    this.#length = length;
    this.#entryAt = HEADER_BYTES;
    this.#isDeclared = this.#isHeader(number);
    const declared = this.#isDeclared ? this.buffer.readUInt32LE(12) * ENTRY_BYTES : length;
    this.#tableEnd = Math.min(length, HEADER_BYTES + declared);
  }

  /** Goes on to the next entry, and says what it found: one of the three above. */
  next(): number {
    const at = this.#entryAt;
    if (at + ENTRY_BYTES > this.#tableEnd) return SEGMENT_END;
    this.#entryAt = at + ENTRY_BYTES;
    const { buffer } = this;
    const offset = buffer.readUInt32LE(at + 4);
    const length = buffer.readUIntLE(at + 8, 3);
    const encoding = buffer.readUInt8(at + 11);
    const isInside = offset >= at + ENTRY_BYTES && offset + length <= this.#length;
    if (!isInside || !isLength(encoding, length, this.#pageBytes)) return PAGE_DAMAGED;
    if (checksumOf(buffer, at, offset, length, this.#seed) !== buffer.readUInt32LE(at)) {
      return PAGE_DAMAGED;
    }
    // No entry lies behind a page, so that without a header the table still has an end.
    this.#tableEnd = Math.min(this.#tableEnd, offset);
    this.image = buffer.readUInt32LE(at + 12);
    this.page = readUInt64LE(buffer, at + 16);
    this.encoded.encoding = encoding as Encoding;
    this.encoded.offset = offset;
    this.encoded.length = length;
    return PAGE_FOUND;
  }

  #isHeader(number: number): boolean {
    const { buffer } = this;
    return (
      this.#length >= HEADER_BYTES &&
      buffer.subarray(0, MAGIC.length).equals(MAGIC) &&
      buffer.readUInt32LE(8) === number &&
      buffer.readUInt32LE(CHECKSUM_AT) === crc32(buffer.subarray(0, CHECKSUM_AT), this.#seed)
    );
  }
}

function isLength(encoding: number, length: number, pageBytes: number): boolean {
  if (encoding === RAW) return length === pageBytes;
  if (encoding === LZ4) return length > 0 && length < pageBytes;
  return encoding === FILLED && length === FILLED_BYTES;
}

function seedOf(id: Buffer, number: number): number {
  const start = Buffer.alloc(ID_BYTES + 4);
  id.copy(start, 0, 0, ID_BYTES);
  start.writeUInt32LE(number, ID_BYTES);
  return crc32(start);
}

function checksumOf(
  segment: Buffer,
  entryAt: number,
  at: number,
  length: number,
  seed: number,
): number {
  const entry = crc32(segment.subarray(entryAt + 4, entryAt + ENTRY_BYTES), seed);
  return crc32(segment.subarray(at, at + length), entry);
}
