/** How large the segments of an overflow file are, and how much it holds. */

import { TmemError } from '../lib/errors.ts';
import { formatSize } from '../lib/sizes.ts';
import { FILE_HEADER_BYTES, RECORD_HEADER_BYTES, SEGMENT_HEADER_BYTES } from './record.ts';

/** The size of a segment where the file is large enough for many of them, bytes. */
const SEGMENT_BYTES = 1024 * 1024;
const SEGMENT_BYTES_MIN = 64 * 1024;

/** Segments that a file should have at least, so that cleaning has a choice; and that it must. */
const SEGMENTS_WANTED = 64;
const SEGMENTS_MIN = 16;

/** The unit of places: 16 bytes, or more where 32 bits of 16 bytes do not reach. */
const GRANULE_BYTES = 16;
const LOCATIONS = 2 ** 32;
const FILE_BYTES_MAX = LOCATIONS * SEGMENT_HEADER_BYTES;

/**
 * Segments beyond those for live pages: two for each of the writer and the cleaner that are in
 * memory, two that only the cleaner may take, and two so that it always finds garbage.
 */
const SPARE_SEGMENTS = 8;
/** Of the others, the share that may be live: cleaning a fuller file moves far more than it frees. */
const LIVE_SHARE = 15 / 16;

/** The layout of one overflow file. */
export interface Geometry {
  readonly pageBytes: number;
  readonly segmentBytes: number;
  readonly segmentCount: number;
  readonly granuleBytes: number;
  readonly granulesPerSegment: number;
  /** Bytes of live records, in whole granules, that always find room. */
  readonly capacityBytes: number;
}

/** Bytes of a segment that are filled whatever the length of the records. */
export function fillableBytes(segmentBytes: number, recordBytesMax: number): number {
  return segmentBytes - SEGMENT_HEADER_BYTES - recordBytesMax;
}

/** Bytes that a file takes which holds a whole device even of pages that do not compress. */
export function defaultFileBytes(sizeBytes: number, pageBytes: number): number {
  const least = FILE_HEADER_BYTES + SEGMENTS_MIN * segmentBytesFor(0, pageBytes);
  let fileBytes = Math.max(least, sizeBytes);
  // A larger file may have larger segments, and then needs to be a little larger still.
  for (;;) {
    const segmentBytes = segmentBytesFor(fileBytes, pageBytes);
    const recordBytesMax = recordBytesMaxOf(pageBytes, granuleBytesFor(fileBytes));
    const liveBytes = Math.ceil(sizeBytes / pageBytes) * recordBytesMax;
    const live = Math.ceil(liveBytes / fillableBytes(segmentBytes, recordBytesMax));
    const segments = Math.ceil(live / LIVE_SHARE) + SPARE_SEGMENTS;
    const neededBytes = FILE_HEADER_BYTES + segments * segmentBytes;
    if (neededBytes <= fileBytes) return fileBytes;
    fileBytes = neededBytes;
  }
}

/** The layout of a file of at most `fileBytes`. Throws `usage` when that cannot be. */
export function geometryFor(fileBytes: number, pageBytes: number): Geometry {
  if (fileBytes > FILE_BYTES_MAX) {
    const most = formatSize(FILE_BYTES_MAX);
    throw new TmemError('usage', `an overflow file has at most ${most}; give it less`);
  }
  const segmentBytes = segmentBytesFor(fileBytes, pageBytes);
  const segmentCount = Math.floor((fileBytes - FILE_HEADER_BYTES) / segmentBytes);
  if (segmentCount < SEGMENTS_MIN) {
    const least = FILE_HEADER_BYTES + SEGMENTS_MIN * segmentBytes;
    throw new TmemError(
      'usage',
      `an overflow file of ${formatSize(fileBytes)} is too small; ` +
        `give it at least ${formatSize(least)}`,
      { context: { fileBytes, least } },
    );
  }
  const granuleBytes = granuleBytesFor(fileBytes);
  const live = Math.floor((segmentCount - SPARE_SEGMENTS) * LIVE_SHARE);
  const fillable = fillableBytes(segmentBytes, recordBytesMaxOf(pageBytes, granuleBytes));
  return {
    pageBytes,
    segmentBytes,
    segmentCount,
    granuleBytes,
    granulesPerSegment: segmentBytes / granuleBytes,
    capacityBytes: live * fillable,
  };
}

/** A small file has small segments: at least some records to each, and segments enough. */
function segmentBytesFor(fileBytes: number, pageBytes: number): number {
  let segmentBytes = SEGMENT_BYTES;
  const least = Math.max(SEGMENT_BYTES_MIN, 16 * pageBytes);
  while (segmentBytes > least && fileBytes / segmentBytes < SEGMENTS_WANTED + 1) segmentBytes /= 2;
  return segmentBytes;
}

function granuleBytesFor(fileBytes: number): number {
  let granuleBytes = GRANULE_BYTES;
  while ((fileBytes - FILE_HEADER_BYTES) / granuleBytes > LOCATIONS) granuleBytes *= 2;
  return granuleBytes;
}

function recordBytesMaxOf(pageBytes: number, granuleBytes: number): number {
  return Math.ceil((RECORD_HEADER_BYTES + pageBytes) / granuleBytes) * granuleBytes;
}
