/**
 * Sectors that say what they are: place, version, connection and run, under a checksum over all of
 * their bytes. A sector of two versions, of another place or of another run is told from a whole one.
 */

import { crc32 } from 'node:zlib';

export const SECTOR_BYTES = 512;

/** The version of a sector of zeros: nothing was ever written there, or zeros were. */
export const ZEROS = 0;

/** What is wrong with a sector that holds no version. */
export const SECTOR_FAULTS = {
  MIXED: -1,
  MISPLACED: -2,
  FOREIGN: -3,
} as const;

const MAGIC = 0x74_6d_65_6d;
const HEADER_BYTES = 20;
const CRC_AT = SECTOR_BYTES - 4;
const zeros = Buffer.alloc(SECTOR_BYTES);

/** What one write puts on its sectors. */
export interface SectorContent {
  readonly seed: number;
  /** At least 1; no two writes of a run have the same. */
  readonly version: number;
  readonly connection: number;
}

/**
 * The bytes of `count` sectors from `first` on. Between header and checksum, every other version
 * compresses well and the rest hardly, so that pages of both kinds go through the layers.
 */
export function encodeSectors(content: SectorContent, first: number, count: number): Buffer {
  const { seed, version, connection } = content;
  const bytes = Buffer.allocUnsafe(count * SECTOR_BYTES);
  for (let index = 0; index < count; index++) {
    const at = index * SECTOR_BYTES;
    bytes.writeUInt32BE(MAGIC, at);
    bytes.writeUInt32BE(seed, at + 4);
    bytes.writeUInt32BE(first + index, at + 8);
    bytes.writeUInt32BE(version, at + 12);
    bytes.writeUInt32BE(connection, at + 16);
    fill(bytes, at + HEADER_BYTES, at + CRC_AT, version, first + index);
    bytes.writeUInt32BE(crc32(bytes.subarray(at, at + CRC_AT)), at + CRC_AT);
  }
  return bytes;
}

/** No two versions of a sector share a word of it. */
function fill(bytes: Buffer, from: number, to: number, version: number, sector: number): void {
  const isPlain = version % 2 === 0;
  let word = (Math.imul(version, 0x9e37_79b1) ^ (isPlain ? 0 : Math.imul(sector, 0x85eb_ca6b))) | 1;
  for (let at = from; at < to; at += 4) {
    bytes.writeInt32LE(word, at);
    if (isPlain) continue;
    word ^= word << 13;
    word ^= word >>> 17;
    word ^= word << 5;
  }
}

/** The version that `sector` of `medium` holds, or what is wrong with it. */
export function versionOf(medium: Buffer, sector: number, seed: number, at = sector): number {
  const bytes = medium.subarray(at * SECTOR_BYTES, (at + 1) * SECTOR_BYTES);
  if (bytes.readUInt32BE(0) !== MAGIC) {
    return bytes.equals(zeros) ? ZEROS : SECTOR_FAULTS.MIXED;
  }
  const crc = crc32(bytes.subarray(0, CRC_AT));
  if (crc !== bytes.readUInt32BE(CRC_AT)) return SECTOR_FAULTS.MIXED;
  if (bytes.readUInt32BE(4) !== seed) return SECTOR_FAULTS.FOREIGN;
  if (bytes.readUInt32BE(8) !== sector) return SECTOR_FAULTS.MISPLACED;
  return bytes.readUInt32BE(12);
}
