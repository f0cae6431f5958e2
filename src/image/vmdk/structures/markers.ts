/**
 * Markers and compressed grains of a stream: VMware's "Virtual Disk Format 5.0", section
 * "Stream-Optimized Compressed Sparse Extents". A marker is a sector; that of a grain is 12 bytes,
 * and the grain follows at once.
 */

import { promisify } from 'node:util';
import zlib from 'node:zlib';
import { roundUp } from '../../../lib/round-up.ts';
import type { Storage } from '../../../storage/storage.ts';
import { broken, damaged } from './damage.ts';
import {
  encodeSparseHeader,
  HEADER_BYTES,
  parseSparseHeader,
  SECTOR_BYTES,
  type SparseHeader,
} from './sparse-header.ts';

const inflate = promisify(zlib.inflate) as (
  bytes: Buffer,
  options: zlib.ZlibOptions,
) => Promise<Buffer>;
const deflate = promisify(zlib.deflate) as (bytes: Buffer) => Promise<Buffer>;

/** Position on the disk in sectors (8 bytes), length of the compressed data (4 bytes). */
export const GRAIN_MARKER_BYTES = 12;

export const MARKER = { endOfStream: 0, grainTable: 1, grainDirectory: 2, footer: 3 } as const;

/** Marker of the footer, footer, marker of the end. */
const TRAILER_BYTES = 3 * SECTOR_BYTES;

/** A marker of something that is no grain, and is `sectors` long. */
export function encodeMarker(type: number, sectors: number): Buffer {
  const bytes = Buffer.alloc(SECTOR_BYTES);
  bytes.writeBigUInt64LE(BigInt(sectors), 0);
  bytes.writeUInt32LE(type, 12);
  return bytes;
}

/** The end of a stream whose directory `footer` knows. */
export function encodeTrailer(footer: SparseHeader): Buffer {
  return Buffer.concat([
    encodeMarker(MARKER.footer, 1),
    encodeSparseHeader(footer),
    encodeMarker(MARKER.endOfStream, 0),
  ]);
}

/** The header at the end of a stream; what it says stands. */
export async function readFooter(storage: Storage, header: SparseHeader): Promise<SparseHeader> {
  const { name, sizeBytes } = storage;
  const offset = sizeBytes - TRAILER_BYTES;
  const unfinished = (cause: string) =>
    damaged(name, Math.max(0, offset), `the stream was not written to its end: ${cause}`);
  if (offset < HEADER_BYTES) throw unfinished('the file is too short for a footer');
  const bytes = Buffer.alloc(TRAILER_BYTES);
  await storage.read(bytes, 0, TRAILER_BYTES, offset);
  const hasMarkers =
    bytes.readUInt32LE(8) === 0 &&
    bytes.readUInt32LE(12) === MARKER.footer &&
    bytes.subarray(2 * SECTOR_BYTES, 2 * SECTOR_BYTES + 16).every((byte) => byte === 0);
  if (!hasMarkers) throw unfinished('no markers of a footer and of the end are there');
  const footer = parseSparseHeader(bytes.subarray(SECTOR_BYTES), name, offset + SECTOR_BYTES);
  const isSame =
    footer.capacitySectors === header.capacitySectors &&
    footer.grainSectors === header.grainSectors &&
    footer.isCompressed === header.isCompressed;
  if (isSame) return footer;
  throw damaged(name, offset + SECTOR_BYTES, 'the footer belongs to another image than the header');
}

/** Where a compressed grain is. */
export interface StoredGrain {
  readonly name: string;
  readonly storageOffset: number;
  /** Where the grain begins on the disk of this extent, sectors. */
  readonly sector: number;
  /** Bytes at the end of the grain that lie behind the end of the disk, and may be missing. */
  readonly surplusBytes: number;
}

/** How long the compressed bytes behind the marker in `src` are; `grainBytes` when decompressed. */
export function readGrainMarker(src: Buffer, grain: StoredGrain, grainBytes: number): number {
  const { name, storageOffset, sector } = grain;
  const found = src.readBigUInt64LE(0);
  if (found !== BigInt(sector)) {
    const cause = `the marker is of the grain at sector ${found}, not ${sector}`;
    throw broken(name, storageOffset, cause);
  }
  const length = src.readUInt32LE(8);
  const lengthMax = Math.min(2 * grainBytes, src.length) - GRAIN_MARKER_BYTES;
  if (length > 0 && length <= lengthMax) return length;
  const cause = `a compressed grain of ${length} bytes is not 1 to ${lengthMax} bytes long`;
  throw broken(name, storageOffset + 8, cause);
}

/** Fills `dst`, a whole grain, from the marker and what follows it in `src`. */
export async function decompressGrain(src: Buffer, dst: Buffer, grain: StoredGrain): Promise<void> {
  const length = readGrainMarker(src, grain, dst.length);
  const stored = src.subarray(GRAIN_MARKER_BYTES, GRAIN_MARKER_BYTES + length);
  const options = { maxOutputLength: dst.length, chunkSize: Math.max(64, dst.length) };
  const { name, storageOffset, surplusBytes } = grain;
  let bytes: Buffer;
  try {
    bytes = await inflate(stored, options);
  } catch (error) {
    const cause = `${length} bytes do not decompress to a grain of ${dst.length} bytes`;
    throw broken(name, storageOffset, cause, error);
  }
  if (bytes.length < dst.length - surplusBytes) {
    const cause = `a grain of ${dst.length} bytes decompresses to ${bytes.length} only`;
    throw broken(name, storageOffset, cause);
  }
  bytes.copy(dst);
  dst.fill(0, bytes.length);
}

/** The grain that begins at `sector` with its marker, padded to whole sectors. */
export async function compressGrain(unit: Buffer, sector: number): Promise<Buffer> {
  const compressed = await deflate(unit);
  const length = GRAIN_MARKER_BYTES + compressed.length;
  const bytes = Buffer.alloc(roundUp(length, SECTOR_BYTES));
  bytes.writeBigUInt64LE(BigInt(sector), 0);
  bytes.writeUInt32LE(compressed.length, 8);
  compressed.copy(bytes, GRAIN_MARKER_BYTES);
  return bytes;
}
