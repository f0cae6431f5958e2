/**
 * The table of the images whose pages are in a snapshot: for each the stamp that its file had, how
 * many pages of it there are, and which segments they lie in. The place of an image in the table is
 * its number in the segments.
 *
 * Entry: size, times of modification and change, pages (64 bits each), first segment and the one
 * behind the last, lengths of medium and name (16 bits each), medium, name; little-endian.
 */

import { readUInt64LE, writeUInt64LE } from '../lib/uint64.ts';
import type { FileStamp } from '../storage/file-stamp.ts';

/** Images that a snapshot may have. */
export const IMAGE_COUNT_MAX = 4096;

/** An image in a snapshot. */
export interface SavedImage {
  /** For people; the first 255 bytes of it. */
  readonly name: string;
  readonly stamp: FileStamp;
  /** Pages of it in the snapshot. */
  pages: number;
  /** They lie in the segments from the first to the end, exclusive. */
  firstSegment: number;
  endSegment: number;
}

const FIXED_BYTES = 44;
const TEXT_BYTES_MAX = 255;
/** The longest table there can be, bytes. */
export const TABLE_BYTES_MAX = IMAGE_COUNT_MAX * (FIXED_BYTES + 2 * TEXT_BYTES_MAX);

/** The table as bytes. Their number depends on the names and media alone. */
export function encodeImageTable(images: readonly SavedImage[]): Buffer {
  return Buffer.concat(images.map(encodeImage));
}

function encodeImage({ name, stamp, pages, firstSegment, endSegment }: SavedImage): Buffer {
  const medium = Buffer.from(stamp.medium).subarray(0, TEXT_BYTES_MAX);
  const title = Buffer.from(name).subarray(0, TEXT_BYTES_MAX);
  const fixed = Buffer.alloc(FIXED_BYTES);
  writeUInt64LE(fixed, stamp.sizeBytes, 0);
  fixed.writeBigInt64LE(stamp.mtimeNs, 8);
  fixed.writeBigInt64LE(stamp.ctimeNs, 16);
  writeUInt64LE(fixed, pages, 24);
  fixed.writeUInt32LE(firstSegment, 32);
  fixed.writeUInt32LE(endSegment, 36);
  fixed.writeUInt16LE(medium.length, 40);
  fixed.writeUInt16LE(title.length, 42);
  return Buffer.concat([fixed, medium, title]);
}

/** The images in a table, whose bytes have been checked; undefined when it is no such table. */
export function decodeImageTable(
  table: Buffer,
  imageCount: number,
): readonly SavedImage[] | undefined {
  const images: SavedImage[] = [];
  let at = 0;
  while (images.length < imageCount) {
    if (at + FIXED_BYTES > table.length) return undefined;
    const mediumAt = at + FIXED_BYTES;
    const nameAt = mediumAt + table.readUInt16LE(at + 40);
    const end = nameAt + table.readUInt16LE(at + 42);
    const stamp = {
      medium: table.toString('utf8', mediumAt, nameAt),
      sizeBytes: readUInt64LE(table, at),
      mtimeNs: table.readBigInt64LE(at + 8),
      ctimeNs: table.readBigInt64LE(at + 16),
    };
    images.push({
      name: table.toString('utf8', nameAt, end),
      stamp,
      pages: readUInt64LE(table, at + 24),
      firstSegment: table.readUInt32LE(at + 32),
      endSegment: table.readUInt32LE(at + 36),
    });
    at = end;
  }
  return at === table.length ? images : undefined;
}
