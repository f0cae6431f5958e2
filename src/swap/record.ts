/**
 * How pages lie in an overflow file. The file begins with a block that says whose it is; behind it
 * lie segments of one size, each a header and then records, one after another. A record is a small
 * header and the encoded page. Places are counted in granules, from the start of the segments.
 *
 * The checksum of a record covers the device, the number of the page, the place, the incarnation of
 * the segment (a sequence number) and the bytes: what belongs to another page, another place or an
 * earlier use of the segment is found out as surely as bytes that were damaged.
 */

import { crc32 } from 'node:zlib';
import { type Encoding, LZ4, RAW } from '../tmem/layer.ts';

/** What precedes an encoded page: checksum, page number, encoding and length; 4 bytes each. */
export const RECORD_HEADER_BYTES = 12;

/**
 * What a segment begins with: magic, version, number, sequence, device id, checksum, zeros. Also the
 * largest granule there may be.
 */
export const SEGMENT_HEADER_BYTES = 512;

/** The block at the start of the file; segments lie aligned behind it. */
export const FILE_HEADER_BYTES = 4096;

const FILE_MAGIC = Buffer.from('tmemswap', 'latin1');
const SEGMENT_MAGIC = Buffer.from('tmemsegm', 'latin1');
const VERSION = 1;
const DEVICE_ID_BYTES = 16;

/** Where a file's header keeps its own checksum: behind magic, version and device id. */
const FILE_CHECKSUM_AT = 28;
/** Where a segment's header keeps its own: behind magic, version, number, sequence, device id. */
const SEGMENT_CHECKSUM_AT = 36;

/** The first block of an overflow file for the device with that id (16 bytes, new for each run). */
export function fileHeader(deviceId: Buffer): Buffer {
  const header = Buffer.alloc(FILE_HEADER_BYTES);
  FILE_MAGIC.copy(header, 0);
  header.writeUInt32LE(VERSION, 8);
  deviceId.copy(header, 12, 0, DEVICE_ID_BYTES);
  header.writeUInt32LE(crc32(header.subarray(0, FILE_CHECKSUM_AT)), FILE_CHECKSUM_AT);
  return header;
}

/**
 * Why a file that begins with these bytes must not be overwritten, and what to do about it; or
 * undefined when it is an overflow file, whose content nobody needs.
 */
export function whyForeign(start: Buffer): string | undefined {
  if (!start.subarray(0, FILE_MAGIC.length).equals(FILE_MAGIC)) {
    return 'it holds something else, which would be lost; name a file that does not exist yet';
  }
  const advice = 'remove it, if nothing uses it any more';
  if (start.length < FILE_CHECKSUM_AT + 4) return `it is an overflow file cut short; ${advice}`;
  const version = start.readUInt32LE(8);
  if (version !== VERSION) {
    return `it is an overflow file of version ${version}, and this is version ${VERSION}; ${advice}`;
  }
  const checksum = crc32(start.subarray(0, FILE_CHECKSUM_AT));
  if (start.readUInt32LE(FILE_CHECKSUM_AT) !== checksum) {
    return `it is an overflow file with a damaged header; ${advice}`;
  }
  return undefined;
}

/** The format of one device's segments and records; keeps no state but scratch. */
export class RecordFormat {
  readonly granuleBytes: number;
  /** Bytes of the longest record, that of a page stored as it is; whole granules. */
  readonly recordBytesMax: number;
  readonly #deviceId: Buffer;
  readonly #deviceChecksum: number;
  readonly #pageBytes: number;
  readonly #place = Buffer.alloc(16);

  constructor(deviceId: Buffer, pageBytes: number, granuleBytes: number) {
    this.#deviceId = deviceId;
    this.#deviceChecksum = crc32(deviceId);
    this.#pageBytes = pageBytes;
    this.granuleBytes = granuleBytes;
    this.recordBytesMax = this.recordBytes(pageBytes);
  }

  /** Bytes that the record of a page takes whose encoding has that length; whole granules. */
  recordBytes(encodedLength: number): number {
    const { granuleBytes } = this;
    return Math.ceil((RECORD_HEADER_BYTES + encodedLength) / granuleBytes) * granuleBytes;
  }

  /** Writes the header of a segment to the start of `segment`. */
  writeSegmentHeader(segment: Buffer, number: number, sequence: number): void {
    segment.fill(0, 0, SEGMENT_HEADER_BYTES);
    SEGMENT_MAGIC.copy(segment, 0);
    segment.writeUInt32LE(VERSION, 8);
    segment.writeUInt32LE(number, 12);
    segment.writeUInt32LE(sequence, 16);
    this.#deviceId.copy(segment, 20);
    const checksum = crc32(segment.subarray(0, SEGMENT_CHECKSUM_AT));
    segment.writeUInt32LE(checksum, SEGMENT_CHECKSUM_AT);
  }

  /** Whether `segment` begins with the header of that segment in that incarnation. */
  isSegmentHeader(segment: Buffer, number: number, sequence: number): boolean {
    return (
      segment.subarray(0, SEGMENT_MAGIC.length).equals(SEGMENT_MAGIC) &&
      segment.readUInt32LE(12) === number &&
      segment.readUInt32LE(16) === sequence &&
      segment.readUInt32LE(SEGMENT_CHECKSUM_AT) === crc32(segment.subarray(0, SEGMENT_CHECKSUM_AT))
    );
  }

  /** Writes a record to `dst[at]`, that stands for the place `location` of the file. */
  write(
    dst: Buffer,
    at: number,
    location: number,
    sequence: number,
    page: number,
    encoding: Encoding,
    encoded: Buffer,
    encodedOffset: number,
    length: number,
  ): void {
    dst.writeUInt32LE(page, at + 4);
    dst.writeUInt32LE((encoding << 24) | length, at + 8);
    encoded.copy(dst, at + RECORD_HEADER_BYTES, encodedOffset, encodedOffset + length);
    dst.writeUInt32LE(this.#checksum(dst, at, length, location, sequence), at);
    const end = at + RECORD_HEADER_BYTES + length;
    dst.fill(0, end, at + this.recordBytes(length));
  }

  /** Has the record at `bytes[at]`, which is whole, stand for another place. */
  move(bytes: Buffer, at: number, location: number, sequence: number): void {
    const length = this.encodedLength(bytes, at);
    bytes.writeUInt32LE(this.#checksum(bytes, at, length, location, sequence), at);
  }

  /** Whether `src[at, at + bytes)` is exactly the record of that page, of that place and time. */
  isRecord(
    src: Buffer,
    at: number,
    bytes: number,
    location: number,
    sequence: number,
    page: number,
  ): boolean {
    const length = this.encodedLength(src, at);
    const encoding = this.encoding(src, at);
    return (
      src.readUInt32LE(at + 4) === page &&
      (encoding === LZ4 ? length > 0 && length <= this.#pageBytes : length === this.#pageBytes) &&
      (encoding === LZ4 || encoding === RAW) &&
      this.recordBytes(length) === bytes &&
      src.readUInt32LE(at) === this.#checksum(src, at, length, location, sequence)
    );
  }

  /** The page that the record at `src[at]` says it is of. */
  page(src: Buffer, at: number): number {
    return src.readUInt32LE(at + 4);
  }

  encoding(src: Buffer, at: number): Encoding {
    return src.readUInt8(at + 11) as Encoding;
  }

  /** Bytes of the encoded page, which begins `RECORD_HEADER_BYTES` behind `at`. */
  encodedLength(src: Buffer, at: number): number {
    return src.readUIntLE(at + 8, 3);
  }

  #checksum(src: Buffer, at: number, length: number, location: number, sequence: number): number {
    const place = this.#place;
    place.writeUInt32LE(location, 0);
    place.writeUInt32LE(sequence, 4);
    src.copy(place, 8, at + 4, at + RECORD_HEADER_BYTES);
    const start = at + RECORD_HEADER_BYTES;
    return crc32(src.subarray(start, start + length), crc32(place, this.#deviceChecksum));
  }
}
