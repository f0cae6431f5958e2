/**
 * Entries of L2 tables, standard and extended. A standard entry is read as an extended one of a
 * single subcluster, so that nobody else needs to tell the two apart.
 */

import type { Geometry } from './geometry.ts';
import { SECTOR_BYTES } from './layout.ts';

const COPIED = 0x8000_0000;
const COMPRESSED = 0x4000_0000;
/** Offsets have 56 bits; of the upper word, these. */
const OFFSET_HIGH = 0x00ff_ffff;
/** Offsets from 2^53 on are no safe integers; no file system has files that large. */
const OFFSET_HIGH_SAFE = 0x001f_ffff;
const TWO_32 = 2 ** 32;

/** What an entry says. One object is read into over and over: take what is needed from it. */
export interface L2Entry {
  isCompressed: boolean;
  /** Whether space of the storage belongs to it; for a compressed one the space is shared. */
  hasHost: boolean;
  /** Where that space is; of a compressed entry, the byte that it begins with. */
  hostOffset: number;
  /** Bytes from there to the end of the last sector of a compressed entry. */
  storedBytesMax: number;
  /** The space belongs to nobody else, so that it may be written in place. */
  isCopied: boolean;
  /** A bit for each subcluster whose bytes are at `hostOffset`. */
  allocated: number;
  /** A bit for each subcluster that reads as zeros. */
  zero: number;
  /** What is wrong with the entry, as the rest of a sentence; undefined for a good one. */
  fault: string | undefined;
}

/** An entry to read into; it says that nothing is there. */
export function newEntry(): L2Entry {
  return {
    isCompressed: false,
    hasHost: false,
    hostOffset: 0,
    storedBytesMax: 0,
    isCopied: false,
    allocated: 0,
    zero: 0,
    fault: undefined,
  };
}

/** Reads the entry at `at` of a slice into `entry`; never throws, see `fault`. */
export function readEntry(slice: Buffer, at: number, geometry: Geometry, entry: L2Entry): void {
  const high = slice.readUInt32BE(at);
  const low = slice.readUInt32BE(at + 4);
  entry.fault = undefined;
  entry.isCopied = high >= COPIED;
  entry.isCompressed = (high & COMPRESSED) !== 0;
  entry.allocated = 0;
  entry.zero = 0;
  if (entry.isCompressed) {
    readCompressed(high, low, geometry, entry);
    return;
  }
  entry.hostOffset = (high & OFFSET_HIGH) * TWO_32 + low - (low % SECTOR_BYTES);
  entry.hasHost = entry.hostOffset !== 0 || (geometry.hasDataFile && entry.isCopied);
  if (geometry.subclusters > 1) readSubclusters(slice, at, entry);
  else if (geometry.hasZeroFlag && (low & 1) !== 0) entry.zero = 1;
  else if (entry.hasHost) entry.allocated = 1;
  if (entry.hostOffset % geometry.clusterBytes !== 0 || (high & OFFSET_HIGH) > OFFSET_HIGH_SAFE) {
    entry.fault = `a cluster is said to be at ${entry.hostOffset}, where none begins`;
  }
}

function readSubclusters(slice: Buffer, at: number, entry: L2Entry): void {
  entry.zero = slice.readUInt32BE(at + 8);
  entry.allocated = slice.readUInt32BE(at + 12);
  if ((entry.zero & entry.allocated) !== 0) {
    entry.fault = 'a subcluster is said to be both zeros and data';
  } else if (entry.allocated !== 0 && !entry.hasHost) {
    entry.fault = 'subclusters are said to be data of a cluster that is nowhere';
  }
}

function readCompressed(high: number, low: number, geometry: Geometry, entry: L2Entry): void {
  // 62 - (clusterBits - 8) bits of offset, of which 32 are in the lower word.
  const offsetBitsHigh = 38 - geometry.clusterBits;
  const offsetHigh = high & (2 ** offsetBitsHigh - 1);
  const sectors = ((high & 0x3fff_ffff) >>> offsetBitsHigh) + 1;
  entry.hasHost = true;
  entry.hostOffset = offsetHigh * TWO_32 + low;
  entry.storedBytesMax = sectors * SECTOR_BYTES - (low % SECTOR_BYTES);
  if (offsetHigh > OFFSET_HIGH_SAFE) {
    entry.fault = `a compressed cluster is said to be at ${entry.hostOffset}`;
  } else if (geometry.hasDataFile) {
    entry.fault = 'a cluster is compressed, which it cannot be in a data file';
  }
}

/** What a cluster that is not compressed is to be: see `L2Entry`. */
export interface NewEntry {
  readonly hostOffset: number;
  readonly hasHost: boolean;
  readonly isCopied: boolean;
  readonly allocated: number;
  readonly zero: number;
}

/** Stores an entry at `at` of a slice. */
export function writeEntry(slice: Buffer, at: number, geometry: Geometry, entry: NewEntry): void {
  const { hostOffset, hasHost, isCopied } = entry;
  const high = Math.floor(hostOffset / TWO_32) + (hasHost && isCopied ? COPIED : 0);
  let low = hostOffset % TWO_32;
  if (geometry.subclusters === 1 && (entry.zero & 1) !== 0) low += 1;
  slice.writeUInt32BE(high, at);
  slice.writeUInt32BE(low, at + 4);
  if (geometry.subclusters === 1) return;
  slice.writeUInt32BE(entry.zero >>> 0, at + 8);
  slice.writeUInt32BE(entry.allocated >>> 0, at + 12);
}

/** Stores the entry of a cluster that is compressed into `length` bytes at `hostOffset`. */
export function writeCompressedEntry(
  slice: Buffer,
  at: number,
  geometry: Geometry,
  hostOffset: number,
  length: number,
): void {
  const lastSector = Math.floor((hostOffset + length - 1) / SECTOR_BYTES);
  const additional = lastSector - Math.floor(hostOffset / SECTOR_BYTES);
  const offsetBitsHigh = 38 - geometry.clusterBits;
  const high = COMPRESSED + additional * 2 ** offsetBitsHigh + Math.floor(hostOffset / TWO_32);
  slice.writeUInt32BE(high, at);
  slice.writeUInt32BE(hostOffset % TWO_32, at + 4);
  if (geometry.subclusters === 1) return;
  slice.writeUInt32BE(0, at + 8);
  slice.writeUInt32BE(0, at + 12);
}
