/**
 * The header of an image of qcow's first version: 48 bytes, big endian, hostile until every field
 * has been looked at; and the 16 bytes that Xen's blktap puts behind it.
 */

import { TmemError } from '../../lib/errors.ts';
import { readUInt64BE, writeUInt64BE } from '../../lib/uint64.ts';
import type { Storage } from '../../storage/storage.ts';
import {
  type AppendedLayout,
  COMPRESSED,
  ENTRY_BYTES,
  type EntryCodec,
  HOLE,
  INVALID,
} from '../appended/layout.ts';
import type { ImageReference } from '../format.ts';
import { readPadded } from '../tables/read-padded.ts';
import { compressedPlace } from './compressed.ts';

export const QCOW_MAGIC = 0x514649fb;
export const QCOW_HEADER_BYTES = 48;
const XEN_MAGIC = 0x58454efb;
/** Blktap puts the first level at a multiple of this, which is how its header is told. */
const XEN_ALIGNMENT_BYTES = 4096;
/** Flag of blktap: the first level is big endian, as everywhere else. */
const XEN_BIG_ENDIAN = 2;

/** Where the header has place and length of the backing file's name. */
export const BACKING_NAME = { at: 8, bytes: 12 } as const;
const NAME_BYTES_MAX = 1023;
/** Of the first level, which is held in memory. */
export const L1_BYTES_MAX = 32 * 1024 * 1024;
export const SECTOR_BYTES = 512;

/** A header whose every value is in range. */
export interface QcowHeader {
  readonly virtualSizeBytes: number;
  readonly clusterBits: number;
  readonly l2Bits: number;
  readonly isEncrypted: boolean;
  readonly l1Offset: number;
  readonly l1Entries: number;
  readonly backingName: string | undefined;
  /** Made by blktap: its checksum is not kept here, so that it is never written. */
  readonly isXen: boolean;
  /** Old images of blktap have the first level in the order of the machine that made them. */
  readonly hasLittleEndianL1: boolean;
}

/** Reads and checks the header; throws a TmemError that names file, offset and cause. */
export async function readQcowHeader(storage: Storage): Promise<QcowHeader> {
  const raw = Buffer.alloc(QCOW_HEADER_BYTES + 16);
  await readPadded(storage, raw, 0, raw.length, 0);
  if (storage.sizeBytes < QCOW_HEADER_BYTES) {
    refuse(storage, storage.sizeBytes, `has ${QCOW_HEADER_BYTES} bytes, and the file ends in it`);
  }
  if (raw.readUInt32BE(0) !== QCOW_MAGIC) refuse(storage, 0, 'has no qcow magic');
  const version = raw.readUInt32BE(4);
  if (version !== 1) refuse(storage, 4, `says version ${version}, and qcow has only 1`);
  const clusterBits = inRange(storage, raw.readUInt8(32), 32, 9, 16, 'cluster bits');
  const l2Bits = inRange(storage, raw.readUInt8(33), 33, 6, 13, 'bits of second-level tables');
  const method = inRange(storage, raw.readUInt32BE(36), 36, 0, 1, 'as encryption method');
  const virtualSizeBytes = safe(storage, raw, 24);
  if (virtualSizeBytes < 2) refuse(storage, 24, `is of ${virtualSizeBytes} bytes`);
  const l1Offset = safe(storage, raw, 40);
  const l1Entries = Math.ceil(virtualSizeBytes / 2 ** (clusterBits + l2Bits));
  checkLevelOne(storage, l1Offset, l1Entries);
  const isXen = raw.readUInt32BE(48) === XEN_MAGIC && l1Offset % XEN_ALIGNMENT_BYTES === 0;
  return {
    virtualSizeBytes,
    clusterBits,
    l2Bits,
    isEncrypted: method === 1,
    l1Offset,
    l1Entries,
    backingName: await backingNameOf(storage, raw),
    isXen,
    hasLittleEndianL1: isXen && (raw.readUInt32BE(60) & XEN_BIG_ENDIAN) === 0,
  };
}

function checkLevelOne(storage: Storage, l1Offset: number, l1Entries: number): void {
  const l1Bytes = l1Entries * ENTRY_BYTES;
  if (l1Bytes > L1_BYTES_MAX) {
    refuse(storage, 24, `needs a first level of ${l1Bytes} bytes, of at most ${L1_BYTES_MAX}`);
  }
  if (l1Offset < QCOW_HEADER_BYTES) {
    refuse(storage, 40, `puts its first-level table at ${l1Offset}, where none can be`);
  }
  if (l1Offset + l1Bytes > storage.sizeBytes) {
    const cutOff = `and the file ends at ${storage.sizeBytes}: it was cut off`;
    refuse(storage, 40, `puts its first-level table at ${l1Offset}, ${cutOff}`);
  }
}

async function backingNameOf(storage: Storage, raw: Buffer): Promise<string | undefined> {
  const offset = safe(storage, raw, 8);
  if (offset === 0) return undefined;
  const length = raw.readUInt32BE(16);
  const isInside = offset >= QCOW_HEADER_BYTES && offset + length <= storage.sizeBytes;
  if (!isInside || length === 0 || length > NAME_BYTES_MAX) {
    refuse(storage, 8, `has ${length} bytes of backing file name at ${offset}`);
  }
  const name = Buffer.alloc(length);
  await readPadded(storage, name, 0, length, offset);
  return name.toString('utf8');
}

function inRange(
  storage: Storage,
  value: number,
  at: number,
  min: number,
  max: number,
  what: string,
): number {
  if (value >= min && value <= max) return value;
  return refuse(storage, at, `says ${value} ${what}, which may be ${min} to ${max}`);
}

function safe(storage: Storage, raw: Buffer, at: number): number {
  const value = raw.readBigUInt64BE(at);
  if (value <= BigInt(Number.MAX_SAFE_INTEGER)) return Number(value);
  return refuse(storage, at, `says ${value}, which is too large`);
}

function refuse(storage: Storage, offset: number, cause: string): never {
  throw new TmemError(
    'invalid',
    `cannot open "${storage.name}" as qcow: its header ${cause} (offset ${offset}); ` +
      'it is damaged or of another format',
    { context: { image: storage.name, offset } },
  );
}

/** An image's own values for `encodeQcowHeader`; the name lies right behind the header. */
export type NewQcowHeader = Pick<
  QcowHeader,
  'virtualSizeBytes' | 'clusterBits' | 'l2Bits' | 'l1Offset' | 'backingName'
>;

export function encodeQcowHeader(header: NewQcowHeader): Buffer {
  const name = Buffer.from(header.backingName ?? '', 'utf8');
  const raw = Buffer.alloc(QCOW_HEADER_BYTES + name.length);
  raw.writeUInt32BE(QCOW_MAGIC, 0);
  raw.writeUInt32BE(1, 4);
  if (name.length > 0) {
    writeUInt64BE(raw, QCOW_HEADER_BYTES, 8);
    raw.writeUInt32BE(name.length, 16);
    name.copy(raw, QCOW_HEADER_BYTES);
  }
  writeUInt64BE(raw, header.virtualSizeBytes, 24);
  raw.writeUInt8(header.clusterBits, 32);
  raw.writeUInt8(header.l2Bits, 33);
  writeUInt64BE(raw, header.l1Offset, 40);
  return raw;
}

export function backingOf({ backingName }: QcowHeader): ImageReference | undefined {
  if (backingName === undefined) return undefined;
  return { role: 'backing file', name: backingName, formatName: undefined };
}

function readTable(table: Buffer, at: number): number {
  return table.readUInt32BE(at) >= 2 ** 21 ? INVALID : readUInt64BE(table, at);
}

/** Bit 63 of an entry says that the cluster is compressed; see `compressed.ts`. */
export const qcowCodec: EntryCodec = {
  readTable,
  readUnit: (table, at) => (table.readUInt32BE(at) >= 2 ** 31 ? COMPRESSED : readTable(table, at)),
  write: (table, at, entry) => {
    if (entry < HOLE) throw new Error(`qcow: an entry cannot say ${entry}`);
    writeUInt64BE(table, entry, at);
  },
};

export function qcowLayout(header: QcowHeader): AppendedLayout {
  return {
    codec: qcowCodec,
    unitBytes: 2 ** header.clusterBits,
    entriesPerTable: 2 ** header.l2Bits,
    l1Offset: header.l1Offset,
    l1EntriesMax: header.l1Entries,
    alignmentBytes: SECTOR_BYTES,
    headerBytes: QCOW_HEADER_BYTES,
    sliceBytes: SECTOR_BYTES,
    hasZeroEntries: false,
    compressedPlace: (table, at) => compressedPlace(table, at, header.clusterBits),
  };
}

/** Turns a first level around, in memory alone, that is little endian on the storage. */
export function swapLevelOne(table: Buffer): void {
  table.swap64();
}
