/**
 * The header of a copy-on-write image: a base device and a file of the same size beside it, in which
 * a block that was written lies at its own offset, and a bitmap that says which. It is the idea of
 * dscow (IBM's cowd, 2006) and of UML's COW files in a layout of our own, with every field at a fixed
 * place, little endian:
 *
 * | bytes | what |
 * |---|---|
 * | 0 | magic `TMEMCOW`, NUL |
 * | 8, 12 | version 1; bytes of a header, 4096 |
 * | 16, 20 | block size as a power of two, 9 to 21; flags: bit 1, the base is not needed |
 * | 24 | virtual size |
 * | 32, 40, 48 | bitmap: offset, bytes; data: offset |
 * | 56 | generation: the valid header with the higher one counts |
 * | 64, 72 | base: bytes of its file; time of its last change, ms since 1970; both 0: not known |
 * | 80, 84 | bytes of the base's format name and of its file name |
 * | 88, 128 | the two names |
 * | 4092 | CRC-32 of all before |
 *
 * There are two headers, at 0 and 4096, written in turn: a torn one leaves the other.
 */

import { crc32 } from 'node:zlib';
import { TmemError } from '../../lib/errors.ts';
import { roundUp } from '../../lib/round-up.ts';
import { readUInt64LE, writeUInt64LE } from '../../lib/uint64.ts';
import { FORMAT_NAMES, type FormatName, type ReferenceStamp } from '../format.ts';

export const COW_MAGIC = Buffer.from('TMEMCOW\0', 'latin1');
export const HEADER_BYTES = 4096;
export const HEADER_COUNT = 2;
const VERSION = 1;
export const BLOCK_BITS_MIN = 9;
export const BLOCK_BITS_MAX = 21;
/** The whole bitmap is held in memory: a bit a block. */
export const BITMAP_BYTES_MAX = 32 * 1024 * 1024;
const FLAG_LINEAR = 2;
const FORMAT_AT = 88;
const FORMAT_BYTES_MAX = 40;
const NAME_AT = 128;
export const NAME_BYTES_MAX = 1023;
const CRC_AT = HEADER_BYTES - 4;

/** What the image stands on. */
export interface CowBase {
  readonly name: string;
  readonly formatName: FormatName;
  /** Undefined while the base may be changed: then any content of it is taken. */
  readonly stamp: ReferenceStamp | undefined;
}

export interface CowHeader {
  readonly blockBytes: number;
  readonly virtualSizeBytes: number;
  readonly bitmapOffset: number;
  readonly bitmapBytes: number;
  readonly dataOffset: number;
  readonly generation: number;
  /** The base is not needed any more: what is not in the image reads as zeros. */
  readonly isLinear: boolean;
  readonly base: CowBase | undefined;
}

/** Where things are in an image of that size: all of it follows from these two. */
export function layoutOf(virtualSizeBytes: number, blockBytes: number) {
  const blockCount = Math.ceil(virtualSizeBytes / blockBytes);
  const bitmapOffset = HEADER_BYTES * HEADER_COUNT;
  const bitmapBytes = roundUp(Math.ceil(blockCount / 8), 4096);
  const dataOffset = roundUp(bitmapOffset + bitmapBytes, Math.max(blockBytes, 4096));
  return { blockCount, bitmapOffset, bitmapBytes, dataOffset };
}

export function encodeHeader(header: CowHeader): Buffer {
  const bytes = Buffer.alloc(HEADER_BYTES);
  COW_MAGIC.copy(bytes);
  bytes.writeUInt32LE(VERSION, 8);
  bytes.writeUInt32LE(HEADER_BYTES, 12);
  bytes.writeUInt32LE(Math.log2(header.blockBytes), 16);
  bytes.writeUInt32LE(header.isLinear ? FLAG_LINEAR : 0, 20);
  writeUInt64LE(bytes, header.virtualSizeBytes, 24);
  writeUInt64LE(bytes, header.bitmapOffset, 32);
  writeUInt64LE(bytes, header.bitmapBytes, 40);
  writeUInt64LE(bytes, header.dataOffset, 48);
  writeUInt64LE(bytes, header.generation, 56);
  const { base } = header;
  if (base !== undefined) {
    writeUInt64LE(bytes, base.stamp?.sizeBytes ?? 0, 64);
    writeUInt64LE(bytes, base.stamp?.changedAtMs ?? 0, 72);
    bytes.writeUInt32LE(bytes.write(base.formatName, FORMAT_AT), 80);
    bytes.writeUInt32LE(bytes.write(base.name, NAME_AT), 84);
  }
  bytes.writeUInt32LE(crc32(bytes.subarray(0, CRC_AT)), CRC_AT);
  return bytes;
}

/** The newer of the valid headers in the first bytes of the file called `name`. */
export function decodeHeaders(bytes: Buffer, name: string): CowHeader {
  if (bytes.length < HEADER_BYTES * HEADER_COUNT) {
    throw refusal(name, bytes.length, 'the file ends within its headers');
  }
  const found: CowHeader[] = [];
  const refusals: unknown[] = [];
  for (let i = 0; i < HEADER_COUNT; i++) {
    const place = i * HEADER_BYTES;
    const header = bytes.subarray(place, place + HEADER_BYTES);
    try {
      found.push(decodeHeader(header, name, place));
    } catch (cause) {
      // Of two headers the one that was written says more than an empty one.
      if (COW_MAGIC.equals(header.subarray(0, COW_MAGIC.length))) refusals.unshift(cause);
      else refusals.push(cause);
    }
  }
  found.sort((a, b) => b.generation - a.generation);
  const [newest] = found;
  if (newest === undefined) throw refusals[0];
  return newest;
}

function refusal(name: string, offset: number, what: string): TmemError {
  const message = `cannot open "${name}" as cow: at offset ${offset}, ${what}`;
  const context = { image: name, offset };
  return new TmemError('invalid', `${message}; restore it from a copy`, { context });
}

function decodeHeader(bytes: Buffer, name: string, place: number): CowHeader {
  const refuse = (at: number, what: string): never => {
    throw refusal(name, place + at, what);
  };
  if (!bytes.subarray(0, 8).equals(COW_MAGIC)) refuse(0, 'the magic TMEMCOW is not there');
  if (bytes.readUInt32LE(CRC_AT) !== crc32(bytes.subarray(0, CRC_AT))) {
    refuse(CRC_AT, 'the checksum of the header is wrong');
  }
  const version = bytes.readUInt32LE(8);
  if (version !== VERSION) refuse(8, `the version ${version} is not known here`);
  const blockBits = bytes.readUInt32LE(16);
  if (!(blockBits >= BLOCK_BITS_MIN && blockBits <= BLOCK_BITS_MAX)) {
    refuse(16, `the block size is 2^${blockBits}, and may be 2^9 to 2^21`);
  }
  const flags = bytes.readUInt32LE(20);
  if ((flags & ~FLAG_LINEAR) !== 0) refuse(20, `the flags ${flags} are not known here`);
  const number = (at: number): number => {
    const value = readUInt64LE(bytes, at);
    return Number.isSafeInteger(value) ? value : refuse(at, 'the number is out of range');
  };
  const blockBytes = 2 ** blockBits;
  const virtualSizeBytes = number(24);
  if (virtualSizeBytes === 0 || virtualSizeBytes % 512 !== 0) {
    refuse(24, `the size ${virtualSizeBytes} is not a multiple of 512`);
  }
  const layout = layoutOf(virtualSizeBytes, blockBytes);
  const { bitmapOffset, bitmapBytes, dataOffset } = layout;
  if (number(32) !== bitmapOffset || number(40) !== bitmapBytes || number(48) !== dataOffset) {
    refuse(32, 'its bitmap or its data is not where the size at offset 24 puts it');
  }
  if (bitmapBytes > BITMAP_BYTES_MAX) refuse(40, `its bitmap of ${bitmapBytes} bytes is too large`);
  const isLinear = (flags & FLAG_LINEAR) !== 0;
  const generation = number(56);
  const base = decodeBase(bytes, number, refuse);
  return {
    blockBytes,
    virtualSizeBytes,
    bitmapOffset,
    bitmapBytes,
    dataOffset,
    generation,
    isLinear,
    base,
  };
}

function decodeBase(
  bytes: Buffer,
  number: (at: number) => number,
  refuse: (at: number, what: string) => never,
): CowBase | undefined {
  const formatBytes = bytes.readUInt32LE(80);
  const nameBytes = bytes.readUInt32LE(84);
  if (nameBytes === 0) return undefined;
  if (nameBytes > NAME_BYTES_MAX) refuse(84, `the name of its base has ${nameBytes} bytes`);
  if (formatBytes > FORMAT_BYTES_MAX) refuse(80, 'the name of the format is too long');
  const said = bytes.toString('latin1', FORMAT_AT, FORMAT_AT + formatBytes);
  const formatName = FORMAT_NAMES.find((each) => each === said);
  if (formatName === undefined) return refuse(FORMAT_AT, 'the format of its base is not known');
  const stamp = { sizeBytes: number(64), changedAtMs: number(72) };
  return {
    name: bytes.toString('utf8', NAME_AT, NAME_AT + nameBytes),
    formatName,
    stamp: stamp.sizeBytes === 0 && stamp.changedAtMs === 0 ? undefined : stamp,
  };
}
