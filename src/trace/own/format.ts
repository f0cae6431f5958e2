/**
 * Our own trace format, version 1; docs/traces/format.md describes it. A header of 4 KiB, then blocks
 * of 4 KiB with up to 127 records of 32 bytes and one that checks them. Everything little-endian.
 */

import { crc32 } from 'node:zlib';
import { TmemError } from '../../lib/errors.ts';
import { writeUInt64LE } from '../../lib/uint64.ts';
import { readU32, readU64 } from '../binary-format.ts';

/** What every file of the format begins with. */
export const OWN_MAGIC = Buffer.from('TMEMTRC1', 'latin1');
/** The first block is where the header ends. */
export const HEADER_BYTES = 4096;
export const BLOCK_BYTES = 4096;
export const RECORD_BYTES = 32;
/** The last one of a full block checks the others. */
export const RECORDS_PER_BLOCK = BLOCK_BYTES / RECORD_BYTES - 1;
const VERSION = 1;
/** Times count microseconds. */
const TICKS_PER_SECOND = 1_000_000;

/** Where the fields of a record are. */
export const FIELD = {
  time: 0,
  offset: 8,
  length: 16,
  volume: 20,
  op: 24,
  flags: 25,
  latency: 26,
  content: 28,
} as const;

/** What stands in the place of the operation of a record that is no request. */
export const SPECIAL = {
  /** u64 time; the recorder left out as many requests as `length` says, since the record before. */
  lost: 0xfc,
  /** `length` bytes of UTF-8 follow, in whole records: the name of `volume`. */
  name: 0xfd,
  /** u32 CRC-32 of the records before it in the block, u32 their count, u64 number of the block. */
  check: 0xfe,
} as const;

/** The longest name of a volume, bytes. */
export const NAME_BYTES_MAX = 255;

const AT = {
  version: 8,
  headerBytes: 12,
  recordBytes: 16,
  blockBytes: 20,
  startUs: 24,
  ticks: 32,
  flags: 36,
  requests: 40,
  dropped: 48,
  sampleThreshold: 56,
  samplePageBytes: 60,
  sourceHash: 64,
  volumes: 96,
  names: 128,
  checksum: HEADER_BYTES - 4,
} as const;
const FLAG = { isComplete: 1, isKeys: 2, hasNoClock: 4, isMergedSample: 8 } as const;
const HASH_BYTES = 32;

/** What the header says. */
export interface OwnHeader {
  /** The wall clock at time 0 of the records, microseconds since 1970; 0 where not known. */
  readonly startUs: number;
  /** The writer ended as it should; else `requests` and `dropped` are not known. */
  readonly isComplete: boolean;
  readonly unit: 'bytes' | 'keys';
  readonly hasClock: boolean;
  readonly requests: number;
  /** Requests that the recorder had to leave out. */
  readonly dropped: number;
  /** Of 2^32 hashes of pages so many were recorded; 0 for all of them. */
  readonly sampleThreshold: number;
  /** As `Trace.isMergedSample`. */
  readonly isMergedSample: boolean;
  /** SHA-256 of what it was made from, in hex; empty where it was recorded. */
  readonly sourceHash: string;
  /** As many names of volumes as there is room for; the others stand among the records. */
  readonly volumes: readonly string[];
}

/** The header's bytes. */
export function encodeHeader(header: OwnHeader): Buffer {
  const bytes = Buffer.alloc(HEADER_BYTES);
  OWN_MAGIC.copy(bytes);
  bytes.writeUInt32LE(VERSION, AT.version);
  bytes.writeUInt32LE(HEADER_BYTES, AT.headerBytes);
  bytes.writeUInt32LE(RECORD_BYTES, AT.recordBytes);
  bytes.writeUInt32LE(BLOCK_BYTES, AT.blockBytes);
  writeUInt64LE(bytes, header.startUs, AT.startUs);
  bytes.writeUInt32LE(TICKS_PER_SECOND, AT.ticks);
  const flags =
    (header.isComplete ? FLAG.isComplete : 0) |
    (header.unit === 'keys' ? FLAG.isKeys : 0) |
    (header.hasClock ? 0 : FLAG.hasNoClock) |
    (header.isMergedSample ? FLAG.isMergedSample : 0);
  bytes.writeUInt32LE(flags, AT.flags);
  writeUInt64LE(bytes, header.requests, AT.requests);
  writeUInt64LE(bytes, header.dropped, AT.dropped);
  bytes.writeUInt32LE(header.sampleThreshold, AT.sampleThreshold);
  bytes.writeUInt32LE(header.sampleThreshold === 0 ? 0 : SAMPLE_PAGE_BYTES, AT.samplePageBytes);
  bytes.write(header.sourceHash, AT.sourceHash, HASH_BYTES, 'hex');
  encodeNames(bytes, header.volumes);
  bytes.writeUInt32LE(crc32(bytes.subarray(0, AT.checksum)), AT.checksum);
  return bytes;
}

/** The table of names: for each a u16 with its length, and UTF-8; the count stands before it. */
function encodeNames(bytes: Buffer, names: readonly string[]): void {
  let at: number = AT.names;
  let count = 0;
  for (const name of names) {
    const encoded = encodeName(name);
    if (at + 2 + encoded.length > AT.checksum) break;
    bytes.writeUInt16LE(encoded.length, at);
    at += 2 + encoded.copy(bytes, at + 2);
    count++;
  }
  bytes.writeUInt32LE(count, AT.volumes);
}

/** A name's bytes, cut to what there is room for. */
export function encodeName(name: string): Buffer {
  const bytes = Buffer.from(name);
  let end = Math.min(bytes.length, NAME_BYTES_MAX);
  // Never in the middle of a character.
  while (end < bytes.length && (bytes[end]! & 0xc0) === 0x80) end--;
  return bytes.subarray(0, end);
}

/** Reads a header; throws a `TmemError` that names `path` if it is damaged or of another version. */
export function decodeHeader(bytes: Buffer, path: string): OwnHeader {
  if (bytes.length < HEADER_BYTES) {
    throw new TmemError('invalid', `${path} ends within its header; get the whole file`);
  }
  if (crc32(bytes.subarray(0, AT.checksum)) !== readU32(bytes, AT.checksum)) {
    throw new TmemError('invalid', `the header of ${path} fails its checksum; get the file again`);
  }
  const version = readU32(bytes, AT.version);
  if (version !== VERSION || readU32(bytes, AT.ticks) !== TICKS_PER_SECOND) {
    const sentence = `${path} is a tmem trace of version ${version}`;
    throw new TmemError('unsupported', `${sentence}; this build reads version ${VERSION}`);
  }
  const flags = readU32(bytes, AT.flags);
  const hash = bytes.toString('hex', AT.sourceHash, AT.sourceHash + HASH_BYTES);
  return {
    startUs: readU64(bytes, AT.startUs),
    isComplete: (flags & FLAG.isComplete) !== 0,
    unit: (flags & FLAG.isKeys) !== 0 ? 'keys' : 'bytes',
    hasClock: (flags & FLAG.hasNoClock) === 0,
    requests: readU64(bytes, AT.requests),
    dropped: readU64(bytes, AT.dropped),
    sampleThreshold: readU32(bytes, AT.sampleThreshold),
    isMergedSample: (flags & FLAG.isMergedSample) !== 0,
    sourceHash: /^0*$/.test(hash) ? '' : hash,
    volumes: decodeNames(bytes),
  };
}

function decodeNames(bytes: Buffer): string[] {
  const names: string[] = [];
  let at: number = AT.names;
  for (let left = readU32(bytes, AT.volumes); left > 0 && at + 2 <= AT.checksum; left--) {
    const end = at + 2 + bytes.readUInt16LE(at);
    names.push(bytes.toString('utf8', at + 2, Math.min(end, AT.checksum)));
    at = end;
  }
  return names;
}

/** A latency in 16 bits, to 1 part in 2,048: 12 bits of value, 4 of exponent; at most 134 s. */
export function encodeLatency(us: number): number {
  let value = us;
  let exponent = 0;
  while (value > 0xfff && exponent < 15) {
    value /= 2;
    exponent++;
  }
  return Math.min(Math.floor(value), 0xfff) | (exponent << 12);
}

/** Microseconds. */
export function decodeLatency(encoded: number): number {
  return (encoded & 0xfff) * 2 ** (encoded >>> 12);
}

/** What samples are taken by, bytes. */
export const SAMPLE_PAGE_BYTES = 4096;

/** The hash of a page by which samples are taken, 32 bits; MurmurHash3's finaliser over both. */
export function samplingHash(volume: number, page: number): number {
  const high = Math.floor(page / 2 ** 32);
  let hash = Math.imul((page | 0) ^ Math.imul(high + volume * 0x10001 + 1, 0x9e3779b1), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
